// Who is live: at the step that is looked at, and at the peak.
// SPDX-License-Identifier: GPL-3.0-or-later

const MOST_LISTED = 80;
const MOST_BARS = 14;

const kindSwatch = (op) => swatch(colourName(colourOf(op)));

// A line of a list: bytes, their share `of` the peak, and a bar that is full at `scale`.
function bar({ colour, label, note, bytes, of, scale = of, title, act, node }) {
  const share = scale > 0 ? Math.min(100, (100 * bytes) / scale) : 0;
  const name = act
    ? make('button', { type: 'button', class: 'name', text: label, on: { click: act } })
    : make('span', { class: 'name', text: label });
  const line = make(
    'li',
    {
      title,
      style: `--share:${bytes > 0 ? `max(2px, ${share.toFixed(3)}%)` : 0};--colour:${colour}`,
      'data-bytes': bytes,
    },
    make('span', { class: 'who' }, swatch(colour), name, make('span', { class: 'op', text: note })),
    make('span', { class: 'number', text: size(bytes) }),
    make('span', { class: 'number share', text: percent(bytes, of) }),
  );
  if (node !== undefined) {
    line.addEventListener('pointerenter', () => {
      markLife(node);
      markInMap(node);
    });
    line.addEventListener('pointerleave', () => {
      markLife(null);
      markInMap(null);
    });
  }
  return line;
}

function lifetimeText(node) {
  const { order, graph } = view;
  const last = order.until[node] - 1;
  const end =
    order.until[node] === graph.count
      ? graph.persistent.has(node)
        ? 'kept to the end: it is a result'
        : 'kept to the end'
      : `freed after step ${whole(last)} (${graph.label(order.node[last])})`;
  return `allocated at step ${whole(order.step[node])}, ${end}`;
}

const bufferBar = (node, of, scale) =>
  bar({
    colour: colourName(colourOf(view.graph.op(node))),
    label: view.graph.label(node),
    note: view.graph.op(node),
    bytes: view.graph.bytes[node],
    of,
    scale,
    node,
    act: () => showNode(node),
    title: `${view.graph.label(node)}: ${exact(view.graph.bytes[node])}, ${lifetimeText(node)}`,
  });

function drawLive() {
  const { graph, order } = view;
  const step = currentStep(),
    running = order.node[step];
  const nodes = order.liveAt(step),
    scratch = graph.workspace[running];
  at('live-step').textContent = whole(step);
  at('live-kept').hidden = view.kept === null || (view.hover !== null && view.hover !== view.kept);
  at('live-facts').replaceChildren(
    make(
      'p',
      { class: 'total', 'data-bytes': order.live[step] },
      make('b', { text: size(order.live[step]) }),
      make('span', {
        class: 'hint',
        text: `${exact(order.live[step])}, ${percent(order.live[step], order.peak)} of the peak`,
      }),
    ),
    make(
      'p',
      {},
      'runs ',
      make('b', { text: graph.label(running) }),
      ` (${graph.op(running)}), `,
      `${plural(nodes.length, 'buffer')} live`,
    ),
  );
  at('live-list').replaceChildren(...bufferBars(nodes, scratch, MOST_LISTED));
}

// The largest buffers, the workspace of the step, and what is left in one line without a bar. The
// bars are full for the largest buffer.
function bufferBars(nodes, scratch, most) {
  const { graph, order } = view;
  const of = order.peak,
    scale = Math.max(scratch, nodes.length > 0 ? graph.bytes[nodes[0]] : 0);
  const lines = nodes.slice(0, most).map((node) => bufferBar(node, of, scale));
  if (scratch > 0)
    lines.push(
      bar({
        colour: 'var(--muted)',
        label: 'workspace of the step',
        note: '',
        bytes: scratch,
        of,
        scale,
        title: `${exact(scratch)}, freed when the step is done`,
      }),
    );
  if (nodes.length > most) {
    const rest = nodes.slice(most).reduce((sum, node) => sum + graph.bytes[node], 0);
    lines.push(
      bar({
        colour: 'transparent',
        label: `${whole(nodes.length - most)} more buffers`,
        note: '',
        bytes: rest,
        of,
        scale: Infinity,
        title: exact(rest),
      }),
    );
  }
  return lines;
}

// --- the peak ---

// Sums of the buffers at the peak by what `key` says, the largest first.
function sumsBy(nodes, key) {
  const sums = new Map();
  for (const node of nodes) {
    const sum = sums.get(key(node)) || { bytes: 0, count: 0 };
    sum.bytes += view.graph.bytes[node];
    sum.count++;
    sums.set(key(node), sum);
  }
  return [...sums].map(([name, sum]) => ({ name, ...sum })).sort((a, b) => b.bytes - a.bytes);
}

function drawPeakKinds(nodes) {
  const kinds = sumsBy(nodes, (node) => view.graph.op(node));
  const rest = kinds.slice(MOST_COLOURS);
  const lines = kinds.slice(0, MOST_COLOURS).map((kind) =>
    bar({
      colour: colourName(colourOf(kind.name)),
      label: kind.name,
      note: plural(kind.count, 'buffer'),
      bytes: kind.bytes,
      of: view.order.peak,
      title: exact(kind.bytes),
    }),
  );
  if (rest.length > 0) {
    const bytes = rest.reduce((sum, kind) => sum + kind.bytes, 0);
    lines.push(
      bar({
        colour: 'var(--faint)',
        label: plural(rest.length, 'other operation'),
        note: '',
        bytes,
        of: view.order.peak,
        title: exact(bytes),
      }),
    );
  }
  at('peak-kinds').replaceChildren(...lines);
}

// How long the buffers have been waiting: what is old at the peak is what another order might free.
function drawPeakAges(nodes) {
  const { order, graph } = view;
  const limits = [
    [0.01, 'up to 1 % of the steps'],
    [0.1, '1 to 10 %'],
    [0.5, '10 to 50 %'],
    [Infinity, 'more than half'],
  ];
  const groups = limits.map(([, name]) => ({ name, bytes: 0, count: 0 }));
  for (const node of nodes) {
    const age = (order.peakStep - order.step[node]) / graph.count;
    const group = groups[limits.findIndex(([limit]) => age <= limit)];
    group.bytes += graph.bytes[node];
    group.count++;
  }
  at('peak-ages').replaceChildren(
    ...groups.map((group, i) =>
      bar({
        colour: `var(--ramp-${i})`,
        label: group.name,
        note: plural(group.count, 'buffer'),
        bytes: group.bytes,
        of: order.peak,
        title: exact(group.bytes),
      }),
    ),
  );
}

function drawWhoAtPeak() {
  const { graph, order } = view;
  const nodes = order.liveAt(order.peakStep);
  const running = order.node[order.peakStep],
    scratch = graph.workspace[running];
  at('peak-hint').textContent =
    order.peak === 0
      ? 'This graph owns no buffers.'
      : `Order ${order.name}, step ${whole(order.peakStep)}, ${graph.label(running)} (${graph.op(running)}): ` +
        `${plural(nodes.length, 'buffer')}, ${exact(order.peak)}.`;
  at('peak-buffers').replaceChildren(...bufferBars(nodes, scratch, MOST_BARS));
  drawPeakKinds(nodes);
  drawPeakAges(nodes);
}

function startLive() {
  at('live-peak').addEventListener('click', () => {
    keepStep(view.order.peakStep);
    revealStep(view.order.peakStep);
  });
  on('step', drawLive);
  on('order', drawWhoAtPeak);
}
