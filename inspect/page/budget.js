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

// A stretch of the bar, as wide as its share of `all` bytes.
function budgetSegment(part, all) {
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
}

function drawBudgetBar(parts, all) {
  const bar = at('budget-bar');
  bar.setAttribute(
    'aria-label',
    parts.map((part) => `${part.name} ${mebibytes(part.bytes)}`).join(', '),
  );
  bar.append(...parts.map((part) => budgetSegment(part, all)));
}

function budgetHead() {
  const columns = ['Part', 'MiB', 'bytes', 'Share', ''].map((text, i) =>
    make('th', { scope: 'col', class: i > 0 && i < 4 ? 'number' : null, text }),
  );
  return make('thead', {}, make('tr', {}, ...columns));
}

// A row of the table; `heading` is what its first cell holds.
function budgetRow(name, bytes, all, note, ...heading) {
  return make(
    'tr',
    { 'data-part': name },
    make('th', { scope: 'row' }, ...heading),
    make('td', { class: 'number', text: mebibytes(bytes) }),
    make('td', { class: 'number faint', text: whole(bytes) }),
    make('td', { class: 'number', text: percent(bytes, all) }),
    make('td', { class: 'hint', text: note }),
  );
}

function drawBudgetTable(budget, parts, all) {
  const rows = parts.map((part) =>
    budgetRow(part.name, part.bytes, all, partNote(part), swatch(part.colour), part.name),
  );
  const program = `${plural(budget.threads, 'thread')}, ${plural(budget.sessions, 'session')}`;
  const note = `${program}; address space ${mebibytes(budget.address_space)}`;
  const sum = budgetRow('resident', budget.resident, all, note, 'resident');
  sum.classList.add('sum');
  at('budget-table').append(
    budgetHead(),
    make('tbody', {}, ...rows),
    make('tfoot', {}, sum),
  );
}

function drawBudget(budget) {
  const parts = budgetParts(budget);
  const all = Math.max(budget.resident, budget.memory_budget);
  at('budget').hidden = at('budget-link').hidden = false;
  drawBudgetBar(parts, all);
  drawBudgetTable(budget, parts, all);
  const limit =
    budget.memory_budget > 0
      ? `${mebibytes(budget.memory_budget)} may be resident.`
      : 'No budget was set.';
  at('budget-hint').textContent = `${limit} The smallest that works is ${mebibytes(budget.smallest)}.`;
}
