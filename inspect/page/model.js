// The facts, and what follows from them: lifetimes, live bytes, who is live at a step.
// SPDX-License-Identifier: GPL-3.0-or-later

const facts = JSON.parse(document.getElementById('facts').textContent);

// --- figures as text ---

const grouped = new Intl.NumberFormat('en-US');
const whole = (number) => grouped.format(number);
const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

// Rounded up to hundredths, as `tandem plan` prints it.
const mebibytes = (bytes) =>
  `${(Math.ceil((bytes / 1048576) * 100) / 100).toLocaleString('en-US', {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
  })} MiB`;
const exact = (bytes) => `${whole(bytes)} bytes`;

function percent(part, all) {
  if (all === 0) return '0 %';
  const share = (100 * part) / all;
  return `${share >= 99.95 || share === 0 ? share.toFixed(0) : share < 0.1 ? '<0.1' : share.toFixed(1)} %`;
}

const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? '' : 's'}`;

// --- orders ---

// One order of a graph. A node's own buffer lives from its step up to, but not including, `until`;
// until is 0 for a node that owns none.
class Order {
  constructor(raw, graph, index) {
    const count = graph.count;
    Object.assign(this, {
      graph,
      index,
      name: raw.orderer,
      chosen: raw.chosen,
      peak: raw.peak,
      peakStep: raw.peak_step,
      bound: raw.lower_bound,
      optimal: raw.optimal,
      seconds: raw.seconds,
    });
    this.node = Uint32Array.from(raw.order);
    this.step = new Uint32Array(count);
    this.node.forEach((node, step) => {
      this.step[node] = step;
    });
    this.until = new Uint32Array(count);
    for (let i = 0; i < count; i++) this.until[i] = raw.lifetime[i] > 0 ? this.step[i] + raw.lifetime[i] : 0;
    this.owner = Uint32Array.from({ length: count }, (_, i) => i);
    raw.sharing.forEach((node, k) => {
      this.owner[node] = raw.shared[k];
    });
    this.live = this.sum(() => 0)[0];
  }

  // Live bytes by step for each of `groups` groups that `groupOf` puts nodes in.
  sum(groupOf, groups = 1) {
    const { count, bytes, workspace } = this.graph;
    const sums = Array.from({ length: groups }, () => new Float64Array(count + 1));
    for (let i = 0; i < count; i++) {
      if (this.until[i] === 0) continue;
      const own = sums[groupOf(i)];
      own[this.step[i]] += bytes[i];
      own[this.until[i]] -= bytes[i];
    }
    for (const own of sums) for (let step = 1; step < count; step++) own[step] += own[step - 1];
    for (let i = 0; i < count; i++) sums[groupOf(i)][this.step[i]] += workspace[i];
    return sums;
  }

  // Whether a node owns a buffer, and it is live at a step.
  isLive(node, step) {
    return this.step[node] <= step && step < this.until[node] && this.graph.bytes[node] > 0;
  }

  // Nodes whose buffers are live at a step, the largest first.
  liveAt(step) {
    const { count, bytes } = this.graph;
    const nodes = [];
    for (let i = 0; i < count; i++) if (this.isLive(i, step)) nodes.push(i);
    return nodes.sort((a, b) => bytes[b] - bytes[a] || this.step[a] - this.step[b]);
  }
}

// --- graphs ---

class Graph {
  constructor(raw, index) {
    const nodes = raw.nodes;
    Object.assign(this, {
      index,
      name: raw.name,
      count: nodes.count,
      edges: raw.edges,
      bound: raw.lower_bound,
      names: nodes.name,
      kinds: nodes.kinds,
      kind: nodes.op,
      bytes: nodes.bytes,
      workspace: nodes.workspace,
      shown: raw.shown,
      firstStep: raw.first_step,
      arena: raw.arena,
    });
    this.persistent = new Set(nodes.persistent);
    this.views = new Set(nodes.views);
    this.orders = raw.orders.map((order, i) => new Order(order, this, i));
  }

  op(node) {
    return this.kinds[this.kind[node]] || 'node';
  }
  label(node) {
    return this.names[node] || `${this.op(node)} ${node}`;
  }
}

const graphs = facts.graphs.map((graph, index) => new Graph(graph, index));

// --- arenas ---

class Arena {
  constructor(raw) {
    Object.assign(this, {
      bytes: raw.bytes,
      livePeak: raw.live_peak,
      bound: raw.bound,
      steps: raw.steps,
      count: raw.node.length,
      node: raw.node,
      graph: raw.graph,
      size: raw.bytes_of,
      offset: raw.offset,
      first: raw.first,
      until: raw.until,
    });
    this.workspace = new Set(raw.workspace);
    this.names = new Map();
    raw.node.forEach((node, i) => {
      if (node < 0) this.names.set(i, raw.runtime[this.names.size]);
    });
  }

  op(i) {
    return this.node[i] < 0 ? 'runtime' : graphs[this.graph[i]].op(this.node[i]);
  }

  label(i) {
    if (this.node[i] < 0) return this.names.get(i);
    const label = graphs[this.graph[i]].label(this.node[i]);
    return this.workspace.has(i) ? `workspace of ${label}` : label;
  }
}

const arenas = facts.arenas.map((arena) => new Arena(arena));

// --- colours of operations: the same everywhere; those that hold most memory for longest come first ---

const MOST_COLOURS = 8;

const kindColours = (() => {
  const weight = new Map();
  for (const arena of arenas)
    for (let i = 0; i < arena.count; i++)
      weight.set(
        arena.op(i),
        (weight.get(arena.op(i)) || 0) +
          ((arena.size[i] / (arena.bytes || 1)) * (arena.until[i] - arena.first[i])) / (arena.steps || 1),
      );
  const ranked = [...weight].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([op]) => op);
  return { ranked, number: new Map(ranked.slice(0, MOST_COLOURS).map((op, i) => [op, i])) };
})();

// The number of an operation's colour, MOST_COLOURS for all that have none of their own.
const colourOf = (op) => kindColours.number.get(op) ?? MOST_COLOURS;
const colourName = (number) => `var(--kind-${number})`;
