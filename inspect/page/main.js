// The parts of the page, put together.
// SPDX-License-Identifier: GPL-3.0-or-later

function card(title, value, note, extra = {}) {
  return make(
    'div',
    { class: 'card', 'data-card': extra.key || title.toLowerCase(), 'data-bytes': extra.bytes },
    make('h3', {}, title, ...(extra.badge ? [extra.badge] : [])),
    make('p', { class: 'figure', text: value }),
    make('p', { class: 'note', text: note }),
  );
}

function boundCard(graph, order) {
  if (order.optimal)
    return card('Lower bound', size(graph.bound), 'no order can need less', {
      bytes: graph.bound,
      badge: make('span', { class: 'badge good', text: 'optimal' }),
    });
  const above =
    graph.bound > 0 ? `the peak is ${(order.peak / graph.bound).toFixed(2)} times that` : 'none is known';
  return card('Lower bound', size(graph.bound), above, {
    bytes: graph.bound,
    badge: make('span', { class: 'badge', text: 'not proved' }),
  });
}

// How much the order saves against the worst of those it is compared with, the file's if it is there.
function savedCard(graph, order) {
  const other =
    graph.orders.find((one) => one.name === 'file' && one !== order) ||
    graph.orders.filter((one) => one !== order).sort((a, b) => b.peak - a.peak)[0];
  if (!other || other.peak === order.peak) return [];
  const saved = other.peak - order.peak;
  return [
    card(
      saved < 0 ? `More than ${other.name}` : `Saved against ${other.name}`,
      percent(Math.abs(saved), other.peak),
      `${size(Math.abs(saved))} of ${size(other.peak)}`,
      { key: 'saved', bytes: saved },
    ),
  ];
}

function drawCards() {
  const { graph, order } = view;
  const arena = arenas[graph.arena];
  at('cards').replaceChildren(
    card('Peak', size(order.peak), `${exact(order.peak)} at step ${whole(order.peakStep)}`, {
      bytes: order.peak,
    }),
    boundCard(graph, order),
    ...savedCard(graph, order),
    card(
      'Arena',
      size(arena.bytes),
      arena.bytes === 0
        ? 'empty'
        : `${exact(arena.bytes)}, ${(arena.bytes / arena.livePeak).toFixed(3)} of its peak`,
      {
        bytes: arena.bytes,
        badge:
          arena.bytes > 0 && arena.bytes === arena.bound
            ? make('span', { class: 'badge good', text: 'smallest' })
            : null,
      },
    ),
    card(
      'Nodes',
      whole(graph.count),
      `${plural(graph.edges, 'edge')}, ${plural(graph.kinds.length, 'operation')}`,
    ),
  );
}

function drawTitle() {
  const files = facts.source
    .split(' + ')
    .map((path) => path.split('/').pop())
    .join(' + ');
  document.title = `${files}: memory`;
  at('title').textContent = files;
  at('subtitle').textContent = facts.budget
    ? `a program of ${plural(graphs.length, 'graph')}`
    : `${view.graph.name}, ${plural(view.graph.count, 'node')}`;
  at('version').textContent = `Tandem ${facts.tandem}, from ${facts.source}`;
}

// Graphs that own buffers, as tabs; arrow keys go from one to the next.
function startTabs() {
  const shown = graphs.filter((graph) => graph.orders[graph.shown].peak > 0);
  const tabs = shown.map((graph) =>
    make(
      'button',
      { type: 'button', role: 'tab', on: { click: () => lookAtGraph(graph) } },
      graph.name,
      make('span', { class: 'hint', text: size(graph.orders[graph.shown].peak) }),
    ),
  );
  at('graphs').hidden = shown.length < 2;
  at('graphs').append(...tabs);
  at('graphs').addEventListener('keydown', (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    const next = (shown.indexOf(view.graph) + move + shown.length) % shown.length;
    lookAtGraph(shown[next]);
    tabs[next].focus();
  });
  on('graph', () =>
    tabs.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(shown[i] === view.graph));
      tab.tabIndex = shown[i] === view.graph ? 0 : -1;
    }),
  );
}

// The graph that needs most is looked at first.
function firstGraph() {
  const peak = (graph) => graph.orders[graph.shown].peak;
  return graphs.reduce((best, graph) => (peak(graph) > peak(best) ? graph : best));
}

function start() {
  startTheme();
  if (graphs.length === 0 || graphs.every((graph) => graph.count === 0)) {
    document
      .querySelector('main')
      .replaceChildren(make('p', { class: 'notice', text: 'There is no node to look at.' }));
    return;
  }
  startTabs();
  startCurve();
  startLive();
  startArena();
  startTable();
  on('order', drawCards);
  on('graph', drawTitle);
  if (facts.budget) drawBudget(facts.budget);
  lookAtGraph(firstGraph());
}

start();
