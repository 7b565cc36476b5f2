// A program's budget: what is resident, part by part.
// SPDX-License-Identifier: GPL-3.0-or-later

function budgetParts(budget) {
  const parts = budget.parts.map((part, i) => ({ ...part, colour: `var(--part-${i % 7})` }));
  if (budget.memory_budget > budget.resident)
    parts.push({
      name: 'left of the budget',
      bytes: budget.memory_budget - budget.resident,
      colour: 'var(--free)',
    });
  return parts;
}

function partNote(part) {
  return part.slots ? `${whole(part.slots)} slots of ${whole(part.slot_bytes)} bytes` : '';
}

function drawBudget(budget) {
  const parts = budgetParts(budget);
  const all = Math.max(budget.resident, budget.memory_budget);
  const sum = (name, bytes, note) =>
    make(
      'tr',
      { class: 'sum', 'data-part': name },
      make('th', { scope: 'row', text: name }),
      make('td', { class: 'number', text: mebibytes(bytes) }),
      make('td', { class: 'number faint', text: whole(bytes) }),
      make('td', { class: 'number', text: percent(bytes, all) }),
      make('td', { class: 'hint', text: note }),
    );
  at('budget').hidden = at('budget-link').hidden = false;
  at('budget-bar').setAttribute(
    'aria-label',
    parts.map((part) => `${part.name} ${mebibytes(part.bytes)}`).join(', '),
  );
  at('budget-bar').append(
    ...parts.map((part) => {
      const segment = make(
        'span',
        { style: `flex-grow:${part.bytes / all};background:${part.colour}`, 'data-part': part.name },
        make('b', { text: part.bytes / all > 0.09 ? part.name : '' }),
      );
      segment.addEventListener('pointermove', (event) =>
        showTip(
          event,
          make('b', { text: part.name }),
          make('div', {
            text: `${mebibytes(part.bytes)} (${exact(part.bytes)}), ${percent(part.bytes, all)}`,
          }),
          make('div', { class: 'hint', text: partNote(part) }),
        ),
      );
      segment.addEventListener('pointerleave', hideTip);
      return segment;
    }),
  );
  at('budget-table').append(
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        ...['Part', 'MiB', 'bytes', 'Share', ''].map((text, i) =>
          make('th', { scope: 'col', class: i > 0 && i < 4 ? 'number' : null, text }),
        ),
      ),
    ),
    make(
      'tbody',
      {},
      ...parts.map((part) =>
        make(
          'tr',
          { 'data-part': part.name },
          make('th', { scope: 'row' }, swatch(part.colour), part.name),
          make('td', { class: 'number', text: mebibytes(part.bytes) }),
          make('td', { class: 'number faint', text: whole(part.bytes) }),
          make('td', { class: 'number', text: percent(part.bytes, all) }),
          make('td', { class: 'hint', text: partNote(part) }),
        ),
      ),
    ),
    make(
      'tfoot',
      {},
      sum(
        'resident',
        budget.resident,
        `${plural(budget.threads, 'thread')}, ${plural(budget.sessions, 'session')}; address space ${mebibytes(budget.address_space)}`,
      ),
    ),
  );
  at('budget-hint').textContent =
    (budget.memory_budget > 0
      ? `${mebibytes(budget.memory_budget)} may be resident. `
      : 'No budget was set. ') + `The smallest that works is ${mebibytes(budget.smallest)}.`;
}
