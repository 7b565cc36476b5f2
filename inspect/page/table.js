// The table of nodes: sorted, filtered, and only the rows in sight are elements.
// SPDX-License-Identifier: GPL-3.0-or-later

const ROW_HEIGHT = 30;
const ROWS_BEYOND = 8;
const TABLE_HEIGHT = 560; // as in parts.css

const table = {
  scroll: at('nodes-scroll'),
  body: at('nodes-table').tBodies[0],
  sort: 'step',
  down: false,
  rows: [],
  marked: -1,
  offsets: null,
};

// How a node comes by its memory.
function bufferText(node) {
  const { graph, order } = view;
  const owner = order.owner[node];
  if (graph.views.has(node)) return owner === node ? 'view' : `view in ${graph.label(owner)}`;
  if (owner !== node) return `in place of ${graph.label(owner)}`;
  return graph.bytes[node] === 0 ? '' : 'own';
}

const livesFor = (node) => Math.max(0, view.order.until[node] - view.order.step[node]);

const tableColumns = [
  { key: 'step', title: 'Step', number: true, value: (node) => view.order.step[node] },
  { key: 'node', title: 'Node', value: (node) => view.graph.label(node) },
  { key: 'op', title: 'Operation', value: (node) => view.graph.op(node) },
  { key: 'bytes', title: 'Output bytes', number: true, value: (node) => view.graph.bytes[node] },
  { key: 'workspace', title: 'Workspace', number: true, value: (node) => view.graph.workspace[node] },
  {
    key: 'live',
    title: 'Live at its step',
    number: true,
    value: (node) => view.order.live[view.order.step[node]],
  },
  { key: 'buffer', title: 'Buffer', value: bufferText },
  { key: 'lives', title: 'Lives for steps', number: true, value: livesFor },
  {
    key: 'until',
    title: 'Freed after step',
    number: true,
    value: (node) => view.order.until[node] - 1,
    text: (node) =>
      view.order.until[node] === 0
        ? ''
        : view.graph.persistent.has(node)
          ? 'kept'
          : whole(view.order.until[node] - 1),
  },
  {
    key: 'offset',
    title: 'Address',
    number: true,
    value: (node) => table.offsets[node],
    text: (node) => (table.offsets[node] < 0 ? '' : whole(table.offsets[node])),
  },
];

const cellText = (column, node) =>
  column.text ? column.text(node) : column.number ? whole(column.value(node)) : column.value(node);

// Addresses by node, -1 where there is none; only the order that was laid out has them.
function readOffsets() {
  table.offsets = new Float64Array(view.graph.count).fill(-1);
  const arena = arenas[view.graph.arena];
  if (view.order.index !== view.graph.shown) return;
  for (let i = 0; i < arena.count; i++)
    if (arena.graph[i] === view.graph.index && arena.node[i] >= 0 && !arena.workspace.has(i))
      table.offsets[arena.node[i]] = arena.offset[i];
  for (let node = 0; node < view.graph.count; node++)
    if (view.order.owner[node] !== node) table.offsets[node] = table.offsets[view.order.owner[node]];
}

// --- rows ---

function chooseRows() {
  const { graph, order } = view;
  const wanted = at('nodes-filter').value.trim().toLowerCase();
  const step = currentStep(),
    onlyLive = at('nodes-live').checked;
  const rows = [];
  for (let node = 0; node < graph.count; node++) {
    if (onlyLive && !order.isLive(node, step)) continue;
    if (
      wanted !== '' &&
      !graph.label(node).toLowerCase().includes(wanted) &&
      !graph.op(node).toLowerCase().includes(wanted)
    )
      continue;
    rows.push(node);
  }
  const column = tableColumns.find((one) => one.key === table.sort);
  const keys = new Map(rows.map((node) => [node, column.value(node)]));
  const sign = table.down ? -1 : 1;
  const compare = column.number
    ? (a, b) => keys.get(a) - keys.get(b)
    : (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0);
  table.rows = rows.sort((a, b) => sign * compare(a, b) || order.step[a] - order.step[b]);
  at('nodes-count').textContent =
    rows.length === graph.count
      ? plural(rows.length, 'node')
      : `${whole(rows.length)} of ${whole(graph.count)}`;
  at('nodes-table').setAttribute('aria-rowcount', rows.length + 1);
}

function tableRow(node, index) {
  const keep = () => {
    keepStep(view.order.step[node]);
    revealStep(view.order.step[node]);
  };
  const cells = tableColumns.map((column) =>
    make(
      'td',
      { class: column.number ? 'number' : null },
      ...(column.key === 'node'
        ? [
            kindSwatch(view.graph.op(node)),
            make('button', {
              type: 'button',
              class: 'name',
              title: `Look at step ${whole(view.order.step[node])}`,
              text: view.graph.label(node),
              on: { click: keep },
            }),
          ]
        : [cellText(column, node)]),
    ),
  );
  return make(
    'tr',
    { 'aria-rowindex': index + 2, 'data-node': node, class: node === table.marked ? 'focus' : null },
    ...cells,
  );
}

function spacer(rows) {
  return make(
    'tr',
    { class: 'spacer', 'aria-hidden': 'true', style: `height:${rows * ROW_HEIGHT}px` },
    make('td', { colspan: tableColumns.length }),
  );
}

function drawRows() {
  const { scrollTop } = table.scroll;
  const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - ROWS_BEYOND);
  const end = Math.min(table.rows.length, Math.ceil((scrollTop + TABLE_HEIGHT) / ROW_HEIGHT) + ROWS_BEYOND);
  const rows = [];
  for (let i = first; i < end; i++) rows.push(tableRow(table.rows[i], i));
  table.body.replaceChildren(
    ...(first > 0 ? [spacer(first)] : []),
    ...rows,
    ...(end < table.rows.length ? [spacer(table.rows.length - end)] : []),
  );
}

function drawTable() {
  chooseRows();
  drawRows();
}

// --- heading ---

function sortBy(key) {
  const column = tableColumns.find((one) => one.key === key);
  table.down = table.sort === key ? !table.down : Boolean(column.number) && key !== 'step';
  table.sort = key;
  drawHead();
  table.scroll.scrollTop = 0;
  drawTable();
}

function drawHead() {
  at('nodes-table').tHead.replaceChildren(
    make(
      'tr',
      {},
      ...tableColumns.map((column) => {
        const sorted = table.sort === column.key ? (table.down ? 'descending' : 'ascending') : 'none';
        return make(
          'th',
          { scope: 'col', class: column.number ? 'number' : null, 'aria-sort': sorted },
          make(
            'button',
            {
              type: 'button',
              'data-key': column.key,
              on: {
                click: () => {
                  sortBy(column.key);
                  at('nodes-table').tHead.querySelector(`[data-key=${column.key}]`).focus();
                },
              },
            },
            column.title,
            make('span', {
              class: 'arrow',
              'aria-hidden': 'true',
              text: { ascending: '▲', descending: '▼', none: '' }[sorted],
            }),
          ),
        );
      }),
    ),
  );
}

// Brings a node's row into sight and marks it.
function showNode(node) {
  table.marked = node;
  at('nodes-filter').value = '';
  at('nodes-live').checked = false;
  chooseRows();
  table.scroll.scrollTop = Math.max(0, table.rows.indexOf(node) * ROW_HEIGHT - table.scroll.clientHeight / 3);
  drawRows();
  at('nodes').scrollIntoView({ block: 'start' });
}

function startTable() {
  drawHead();
  table.scroll.addEventListener('scroll', () => requestAnimationFrame(drawRows), { passive: true });
  at('nodes-filter').addEventListener('input', () => {
    table.scroll.scrollTop = 0;
    drawTable();
  });
  at('nodes-live').addEventListener('change', () => {
    table.scroll.scrollTop = 0;
    drawTable();
  });
  on('order', () => {
    table.marked = -1;
    readOffsets();
    table.scroll.scrollTop = 0;
    drawTable();
  });
  on('step', () => {
    at('nodes-step').textContent = whole(currentStep());
    if (at('nodes-live').checked && view.hover === null) drawTable();
  });
}
