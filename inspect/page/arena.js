// The arena: a rectangle for each buffer, steps across and addresses up, on a canvas.
// SPDX-License-Identifier: GPL-3.0-or-later

const map = {
  host: at('arena-plot'),
  arena: null,
  x0: 0,
  x1: 1,
  y0: 0,
  y1: 1,
  colour: 'kind',
  hover: -1,
  left: 66,
  right: 14,
  top: 20,
  bottom: 26,
  pending: false,
};

const mapX = (step) => map.left + ((step - map.x0) / (map.x1 - map.x0)) * map.width;
const mapY = (address) => map.top + map.height * (1 - (address - map.y0) / (map.y1 - map.y0));
const stepAtMap = (x) => map.x0 + ((x - map.left) / map.width) * (map.x1 - map.x0);
const addressAtMap = (y) => map.y0 + (1 - (y - map.top) / map.height) * (map.y1 - map.y0);

// --- colours ---

// A canvas wants colours, not names: an element that is not shown tells what each name stands for now.
function readColours() {
  const probe = make('i', { hidden: true });
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  map.palette = {
    kinds: Array.from({ length: MOST_COLOURS + 1 }, (_, i) => read(`--kind-${i}`)),
    ramp: Array.from({ length: 4 }, (_, i) => read(`--ramp-${i}`)),
    text: read('--text'),
    muted: read('--muted'),
    line: read('--line'),
    accent: read('--accent'),
    font: getComputedStyle(document.body).fontFamily,
  };
  probe.remove();
}

// What a buffer's colour tells: limits of each colour of the ramp, as shares of the largest.
const rampLimits = [0.01, 0.1, 0.5, Infinity];
const rampNames = {
  size: ['up to 1 % of the arena', '1 to 10 %', '10 to 50 %', 'more than half'],
  lifetime: ['up to 1 % of the steps', '1 to 10 %', '10 to 50 %', 'more than half'],
};

function rampNumber(i) {
  const { arena } = map;
  const share =
    map.colour === 'size' ? arena.size[i] / arena.bytes : (arena.until[i] - arena.first[i]) / arena.steps;
  return rampLimits.findIndex((limit) => share <= limit);
}

const bufferColour = (i) =>
  map.colour === 'kind' ? map.palette.kinds[map.kind[i]] : map.palette.ramp[rampNumber(i)];

function drawMapLegend() {
  const { arena } = map;
  if (map.colour === 'kind') {
    const ops = new Set(Array.from({ length: arena.count }, (_, i) => arena.op(i)));
    kindLegend(at('arena-legend'), ops);
  } else {
    at('arena-legend').replaceChildren(
      ...rampNames[map.colour].map((name, i) => make('span', {}, swatch(`var(--ramp-${i})`), name)),
    );
  }
}

// --- drawing ---

function drawMapAxes(pen) {
  const { palette } = map;
  pen.font = `11px ${palette.font}`;
  pen.textBaseline = 'middle';
  pen.textAlign = 'right';
  pen.lineWidth = 1;
  for (const address of byteTicks(map.y0, map.y1, Math.max(2, Math.floor(map.height / 60)))) {
    const y = Math.round(mapY(address)) + 0.5;
    pen.strokeStyle = palette.line;
    pen.beginPath();
    pen.moveTo(map.left, y);
    pen.lineTo(map.left + map.width, y);
    pen.stroke();
    pen.fillStyle = palette.muted;
    pen.fillText(byteLabel(address, map.y1), map.left - 8, y);
  }
  pen.textAlign = 'center';
  for (const step of stepTicks(map.x0, map.x1, Math.max(2, Math.floor(map.width / 110))))
    if (mapX(step) < map.left + map.width - 56) {
      pen.textAlign = step === 0 ? 'left' : 'center';
      pen.fillText(whole(step), mapX(step), map.top + map.height + 14);
    }
  pen.textAlign = 'right';
  pen.fillText('step', map.left + map.width, map.top + map.height + 14);
}

function drawBuffers(pen) {
  const { arena } = map;
  const right = map.left + map.width,
    bottom = map.top + map.height;
  for (let i = 0; i < arena.count; i++) {
    if (arena.until[i] <= map.x0 || arena.first[i] >= map.x1) continue;
    if (arena.offset[i] + arena.size[i] <= map.y0 || arena.offset[i] >= map.y1) continue;
    const x = Math.max(map.left, mapX(arena.first[i])),
      end = Math.min(right, mapX(arena.until[i]));
    const y = Math.max(map.top, mapY(arena.offset[i] + arena.size[i])),
      low = Math.min(bottom, mapY(arena.offset[i]));
    const width = end - x,
      height = low - y;
    pen.fillStyle = bufferColour(i);
    // A gap of a pixel parts neighbours where there is room for one.
    pen.fillRect(
      x,
      y,
      Math.max(0.75, width > 3 ? width - 1 : width),
      Math.max(0.75, height > 3 ? height - 1 : height),
    );
    if (width > 70 && height > 15) labelBuffer(pen, i, x, y, width, height);
  }
}

function labelBuffer(pen, i, x, y, width, height) {
  const label = map.arena.label(i);
  const room = Math.floor((width - 12) / 6.2);
  pen.fillStyle = 'rgba(255, 255, 255, 0.95)';
  pen.font = `11px ${map.palette.font}`;
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  pen.fillText(
    label.length > room ? `${label.slice(0, Math.max(1, room - 1))}…` : label,
    x + 6,
    y + Math.min(height / 2, 12),
  );
}

// Where graphs begin, when several share the arena.
function drawGraphStarts(pen) {
  const sharing = graphs.filter((graph) => arenas[graph.arena] === map.arena);
  if (sharing.length < 2) return;
  pen.font = `600 11px ${map.palette.font}`;
  pen.textAlign = 'left';
  pen.textBaseline = 'alphabetic';
  for (const graph of sharing) {
    const x = mapX(graph.firstStep),
      end = mapX(graph.firstStep + graph.count);
    if (end <= map.left || x >= map.left + map.width) continue;
    const from = Math.round(Math.max(map.left, x)) + 0.5;
    pen.strokeStyle = map.palette.muted;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(from, map.top - 14);
    pen.lineTo(from, map.top + map.height);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = map.palette.muted;
    if (Math.min(end, map.left + map.width) - from > pen.measureText(graph.name).width + 8)
      pen.fillText(graph.name, from + 4, map.top - 6);
  }
}

function drawMapStep(pen) {
  if (arenas[view.graph.arena] !== map.arena || view.order !== view.graph.orders[view.graph.shown]) return;
  const x = mapX(view.graph.firstStep + currentStep() + 0.5);
  if (x < map.left || x > map.left + map.width) return;
  pen.strokeStyle = map.palette.text;
  pen.globalAlpha = 0.7;
  pen.beginPath();
  pen.moveTo(x, map.top - 4);
  pen.lineTo(x, map.top + map.height);
  pen.stroke();
  pen.globalAlpha = 1;
}

function outline(pen, i) {
  const { arena } = map;
  const x = Math.max(map.left, mapX(arena.first[i])),
    end = Math.min(map.left + map.width, mapX(arena.until[i]));
  const y = Math.max(map.top, mapY(arena.offset[i] + arena.size[i])),
    low = Math.min(map.top + map.height, mapY(arena.offset[i]));
  pen.strokeStyle = map.palette.text;
  pen.lineWidth = 2;
  pen.strokeRect(x, y, Math.max(1, end - x), Math.max(1, low - y));
  pen.lineWidth = 1;
}

// Outlines a node's buffer, or none; only the order that was laid out has places.
function markInMap(node) {
  const { arena } = map;
  map.hover = -1;
  if (node !== null && view.order.index === view.graph.shown)
    map.hover = arena.node.findIndex(
      (one, i) => one === node && arena.graph[i] === view.graph.index && !arena.workspace.has(i),
    );
  drawMapOver();
}

// The buffers are drawn once for each view; what moves with the pointer is drawn over a copy.
function drawMap() {
  const width = map.host.clientWidth;
  if (width === 0 || !map.arena) return;
  const height = width < 560 ? 280 : 420;
  map.left = width < 560 ? 54 : 66;
  map.width = width - map.left - map.right;
  map.height = height - map.top - map.bottom;
  const scale = devicePixelRatio || 1;
  for (const canvas of [map.canvas, map.below]) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  map.canvas.style.width = `${width}px`;
  map.canvas.style.height = `${height}px`;
  const pen = map.below.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  drawMapAxes(pen);
  drawBuffers(pen);
  drawGraphStarts(pen);
  drawMapOver();
}

function drawMapOver() {
  if (!map.arena || !map.width) return;
  const pen = map.canvas.getContext('2d');
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, map.canvas.width, map.canvas.height);
  pen.drawImage(map.below, 0, 0);
  const scale = devicePixelRatio || 1;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  drawMapStep(pen);
  if (map.hover >= 0) outline(pen, map.hover);
  if (map.box) {
    pen.strokeStyle = map.palette.accent;
    pen.strokeRect(map.box.x, map.box.y, map.box.width, map.box.height);
  }
}

// --- looking closer ---

function zoomMap(x0, x1, y0, y1) {
  const { steps, bytes } = map.arena;
  const wide = Math.min(steps, Math.max(Math.min(4, steps), x1 - x0));
  const high = Math.min(bytes, Math.max(Math.min(256, bytes), y1 - y0));
  map.x0 = Math.max(0, Math.min(steps - wide, x0));
  map.y0 = Math.max(0, Math.min(bytes - high, y0));
  map.x1 = map.x0 + wide;
  map.y1 = map.y0 + high;
  drawMap();
}

const showWholeArena = () => zoomMap(0, map.arena.steps, 0, map.arena.bytes);

function zoomMapBy(factor, step = (map.x0 + map.x1) / 2, address = (map.y0 + map.y1) / 2) {
  zoomMap(
    step - (step - map.x0) * factor,
    step + (map.x1 - step) * factor,
    address - (address - map.y0) * factor,
    address + (map.y1 - address) * factor,
  );
}

function panMap(across, up) {
  const wide = (map.x1 - map.x0) * across,
    high = (map.y1 - map.y0) * up;
  zoomMap(map.x0 + wide, map.x1 + wide, map.y0 + high, map.y1 + high);
}

// The buffer at a place, -1 when there is none. Those of less than a pixel are found from nearby.
function bufferAt(x, y) {
  const { arena } = map;
  const step = Math.floor(stepAtMap(x)),
    address = addressAtMap(y);
  let nearest = -1,
    distance = ((map.y1 - map.y0) / map.height) * 2;
  if (x < map.left || x > map.left + map.width) return -1;
  for (let i = 0; i < arena.count; i++) {
    if (step < arena.first[i] || step >= arena.until[i]) continue;
    const away = Math.max(arena.offset[i] - address, address - arena.offset[i] - arena.size[i], 0);
    if (away < distance) {
      nearest = i;
      distance = away;
    }
  }
  return nearest;
}

function bufferTip(i) {
  const { arena } = map;
  const line = (name, value) =>
    make('div', {}, make('span', { class: 'hint', text: name }), make('span', { text: value }));
  return [
    make('b', { text: arena.label(i) }),
    make('div', { class: 'op' }, kindSwatch(arena.op(i)), arena.op(i)),
    line('size', `${size(arena.size[i])} (${exact(arena.size[i])})`),
    line('address', `${whole(arena.offset[i])} to ${whole(arena.offset[i] + arena.size[i])}`),
    line(
      'steps',
      `${whole(arena.first[i])} to ${whole(arena.until[i] - 1)} (${whole(arena.until[i] - arena.first[i])})`,
    ),
  ];
}

function startMapPointer() {
  let start = null;
  const place = (event) => {
    const bounds = map.host.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  };
  const box = (one, other) => ({
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  });
  map.host.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.pointerType === 'touch') return;
    start = place(event);
    map.host.setPointerCapture(event.pointerId);
  });
  map.host.addEventListener('pointermove', (event) => {
    const here = place(event);
    const found = bufferAt(here.x, here.y);
    map.box = start && box(start, here);
    if (found !== map.hover || start) {
      map.hover = found;
      requestAnimationFrame(drawMapOver);
    }
    if (found >= 0 && !start) showTip(event, ...bufferTip(found));
    else hideTip();
  });
  map.host.addEventListener('pointerup', (event) => {
    const drawn = start && box(start, place(event));
    start = map.box = null;
    if (drawn && (drawn.width > 5 || drawn.height > 5))
      zoomMap(
        stepAtMap(drawn.x),
        stepAtMap(drawn.x + drawn.width),
        addressAtMap(drawn.y + drawn.height),
        addressAtMap(drawn.y),
      );
    else if (map.hover >= 0 && map.arena.node[map.hover] >= 0) lookAtBuffer(map.hover);
  });
  map.host.addEventListener('pointerleave', () => {
    map.hover = -1;
    hideTip();
    drawMapOver();
  });
  map.host.addEventListener('dblclick', showWholeArena);
  map.host.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      const here = place(event);
      zoomMapBy(event.deltaY > 0 ? 1.25 : 0.8, stepAtMap(here.x), addressAtMap(here.y));
    },
    { passive: false },
  );
}

// Keeps the step at which a buffer is allocated, in its graph.
function lookAtBuffer(i) {
  const graph = graphs[map.arena.graph[i]];
  if (graph !== view.graph) lookAtGraph(graph);
  else if (view.order.index !== graph.shown) lookAtOrder(graph.orders[graph.shown]);
  keepStep(view.order.step[map.arena.node[i]]);
}

function startMapKeys() {
  const keys = {
    ArrowLeft: () => panMap(-0.2, 0),
    ArrowRight: () => panMap(0.2, 0),
    ArrowUp: () => panMap(0, 0.2),
    ArrowDown: () => panMap(0, -0.2),
    '+': () => zoomMapBy(0.5),
    '=': () => zoomMapBy(0.5),
    '-': () => zoomMapBy(2),
    0: showWholeArena,
    Escape: showWholeArena,
  };
  map.host.addEventListener('keydown', (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}

function lookAtArena() {
  const arena = arenas[view.graph.arena];
  if (arena === map.arena) return;
  map.arena = arena;
  map.kind = Uint8Array.from({ length: arena.count }, (_, i) => colourOf(arena.op(i)));
  map.hover = -1;
  Object.assign(map, { x0: 0, x1: Math.max(1, arena.steps), y0: 0, y1: Math.max(1, arena.bytes) });
  const text =
    arena.bytes === 0
      ? 'No buffer needs an address.'
      : `${plural(arena.count, 'buffer')} in ${exact(arena.bytes)}, ` +
        `${(arena.bytes / arena.livePeak).toFixed(3)} of the live peak ${whole(arena.livePeak)} (sizes rounded up to 64).`;
  const order = view.graph.orders[view.graph.shown].name;
  at('arena-help').textContent =
    `${text} Laid out for the order ${order}. Drag a box to zoom, double-click to see all; ` +
    'point at a buffer to see what it is, click to look at the step that allocates it. Keys: arrows, +, −, 0.';
  map.host.setAttribute('aria-label', `Map of the arena: ${text}`);
  drawMapLegend();
  drawMap();
}

function startArena() {
  map.canvas = make('canvas');
  map.below = make('canvas');
  map.host.append(map.canvas);
  readColours();
  startMapPointer();
  startMapKeys();
  at('arena-in').addEventListener('click', () => zoomMapBy(0.5));
  at('arena-out').addEventListener('click', () => zoomMapBy(2));
  at('arena-reset').addEventListener('click', showWholeArena);
  at('arena-colour').addEventListener('change', () => {
    map.colour = at('arena-colour').value;
    drawMapLegend();
    drawMap();
  });
  onResize(map.host, drawMap);
  on('graph', lookAtArena);
  on('step', drawMapOver);
  on('theme', () => {
    readColours();
    drawMap();
  });
}
