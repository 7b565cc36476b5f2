// The curve of live bytes over steps, for several orders, as SVG.
// SPDX-License-Identifier: GPL-3.0-or-later

const curve = {
  host: at('curve-plot'),
  from: 0,
  to: 1,
  byKind: false,
  left: 62,
  right: 14,
  top: 22,
  bottom: 26,
};

const orderColour = (order) =>
  `var(--order-${order === view.graph.orders[view.graph.shown] ? 0 : 1 + (order.index % 5)})`;

const curveX = (step) => curve.left + ((step - curve.from) / (curve.to - curve.from)) * curve.width;
const curveY = (bytes) => curve.top + curve.height * (1 - bytes / curve.most);

function stepAtX(x) {
  const step = Math.floor(curve.from + ((x - curve.left) / curve.width) * (curve.to - curve.from));
  return Math.min(view.graph.count - 1, Math.max(0, step));
}

// Spans of steps that share a column of pixels, as [first, end]; one step each when there is room.
function* columns() {
  const steps = curve.to - curve.from;
  const count = Math.min(steps, Math.max(1, Math.floor(curve.width)));
  for (let c = 0; c < count; c++)
    yield [curve.from + Math.floor((c * steps) / count), curve.from + Math.floor(((c + 1) * steps) / count)];
}

// Where the least and the most is live in [first, end).
function extremes(live, first, end) {
  let least = first,
    most = first;
  for (let step = first + 1; step < end; step++) {
    if (live[step] > live[most]) most = step;
    if (live[step] < live[least]) least = step;
  }
  return [least, most];
}

const coordinate = (number) => number.toFixed(1);

// A line that keeps every column's least and most, so that no peak is lost however many steps a
// pixel stands for.
function linePath(live) {
  let path = '';
  for (const [first, end] of columns()) {
    const [least, most] = extremes(live, first, end);
    const x = coordinate(curveX(first)),
      next = coordinate(curveX(end));
    const [one, other] = least < most ? [least, most] : [most, least];
    path += `${path === '' ? 'M' : 'L'}${x},${coordinate(curveY(live[one]))}`;
    if (one !== other) path += `V${coordinate(curveY(live[other]))}`;
    if (end - first === 1) path += `H${next}`;
  }
  return path;
}

// The area between two sums, read in each column where `total` is largest.
function areaPath(total, lower, upper) {
  let over = '',
    under = '';
  for (const [first, end] of columns()) {
    const [, most] = extremes(total, first, end);
    const x = coordinate(curveX(first)),
      next = coordinate(curveX(end));
    over += `${over === '' ? 'M' : 'L'}${x},${coordinate(curveY(upper(most)))}H${next}`;
    under = `L${next},${coordinate(curveY(lower(most)))}H${x}${under}`;
  }
  return `${over}${under}Z`;
}

// Areas of the operations, stacked; the largest colours lie below.
function kindAreas(order) {
  order.byKind ||= order.sum((node) => colourOf(view.graph.op(node)), MOST_COLOURS + 1);
  const below = new Float64Array(view.graph.count + 1);
  return order.byKind
    .map((own, number) => {
      if (!own.some((bytes) => bytes > 0)) return null;
      const start = below.slice();
      for (let step = 0; step < view.graph.count; step++) below[step] += own[step];
      const end = below.slice();
      return makeSvg('path', {
        class: 'kind',
        fill: colourName(number),
        d: areaPath(
          order.live,
          (step) => start[step],
          (step) => end[step],
        ),
      });
    })
    .filter((path) => path !== null);
}

function drawAxes(svg) {
  const steps = Math.max(2, Math.floor(curve.width / 110));
  for (const bytes of byteTicks(0, curve.most, Math.max(2, Math.floor(curve.height / 56)))) {
    const y = coordinate(curveY(bytes));
    svg.append(
      makeSvg('line', { class: 'grid', x1: curve.left, x2: curve.left + curve.width, y1: y, y2: y }),
      makeSvg('text', {
        class: 'tick',
        x: curve.left - 8,
        y,
        'text-anchor': 'end',
        dy: '0.35em',
        text: byteLabel(bytes, curve.most),
      }),
    );
  }
  for (const step of stepTicks(curve.from, curve.to, steps)) {
    const x = curveX(step);
    if (x > curve.left + curve.width - 56) continue;
    svg.append(
      makeSvg('text', {
        class: 'tick',
        x: coordinate(x),
        y: curve.top + curve.height + 17,
        'text-anchor': step === 0 ? 'start' : 'middle',
        text: whole(step),
      }),
    );
  }
  svg.append(
    makeSvg('text', {
      class: 'tick',
      x: curve.left + curve.width,
      y: curve.top + curve.height + 17,
      'text-anchor': 'end',
      text: 'step',
    }),
  );
}

function drawBound(svg) {
  const bound = view.graph.bound;
  if (bound === 0 || bound > curve.most) return;
  const y = coordinate(curveY(bound));
  const left = curveX(view.order.peakStep) > curve.left + curve.width / 2; // away from the peak's label
  svg.append(
    makeSvg('line', { class: 'bound', x1: curve.left, x2: curve.left + curve.width, y1: y, y2: y }),
    makeSvg('text', {
      class: 'bound-label',
      x: left ? curve.left + 6 : curve.left + curve.width - 4,
      y: y - 5,
      'text-anchor': left ? 'start' : 'end',
      text: `lower bound ${size(bound)}`,
    }),
  );
}

function drawPeak(svg) {
  const { peakStep, peak } = view.order;
  if (peakStep < curve.from || peakStep >= curve.to || peak === 0) return;
  const x = curveX(peakStep + 0.5),
    late = x > curve.left + curve.width * 0.7;
  svg.append(
    makeSvg('circle', { class: 'peak', cx: coordinate(x), cy: coordinate(curveY(peak)), r: 4 }),
    makeSvg('text', {
      class: 'peak-label',
      x: coordinate(x + (late ? -9 : 9)),
      y: coordinate(curveY(peak) - 7),
      'text-anchor': late ? 'end' : 'start',
      text: `peak ${size(peak)}`,
    }),
  );
}

function drawLines(svg) {
  const shown = view.graph.orders.filter((order) => !view.hidden.has(order) && order !== view.order);
  if (curve.byKind) svg.append(...kindAreas(view.order));
  else
    svg.append(
      makeSvg('path', {
        class: 'area',
        fill: orderColour(view.order),
        d: areaPath(
          view.order.live,
          () => 0,
          (step) => view.order.live[step],
        ),
      }),
    );
  for (const order of [...shown, view.order])
    svg.append(
      makeSvg('path', {
        class: order === view.order ? 'line focus' : 'line',
        stroke: orderColour(order),
        'stroke-dasharray': order.index >= 5 && order !== view.order ? '5 3' : null,
        d: linePath(order.live),
      }),
    );
}

function drawCurve() {
  const width = curve.host.clientWidth;
  if (width === 0) return;
  const height = width < 560 ? 240 : 340;
  curve.left = width < 560 ? 54 : 66;
  curve.width = width - curve.left - curve.right;
  curve.height = height - curve.top - curve.bottom;
  const visible = view.graph.orders.filter((order) => order === view.order || !view.hidden.has(order));
  curve.most = Math.max(1, ...visible.map((order) => order.peak)) * 1.04;
  const svg = makeSvg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, 'aria-hidden': 'true' });
  svg.append(
    makeSvg(
      'clipPath',
      { id: 'curve-clip' },
      makeSvg('rect', { x: curve.left, y: 0, width: curve.width, height }),
    ),
  );
  drawAxes(svg);
  const clipped = makeSvg('g', { 'clip-path': 'url(#curve-clip)' });
  drawLines(clipped);
  svg.append(clipped);
  drawBound(svg);
  drawPeak(svg);
  curve.life = makeSvg('rect', { class: 'life', y: curve.top, height: curve.height, visibility: 'hidden' });
  curve.selection = makeSvg('rect', {
    class: 'selection',
    y: curve.top,
    height: curve.height,
    visibility: 'hidden',
  });
  curve.cross = makeSvg('line', { class: 'cross', y1: curve.top - 4, y2: curve.top + curve.height });
  curve.dot = makeSvg('circle', { class: 'dot', r: 3.5 });
  svg.append(curve.life, curve.selection, curve.cross, curve.dot);
  curve.host.replaceChildren(svg);
  drawCross();
}

// The line at the step that is looked at.
function drawCross() {
  if (!curve.cross) return;
  const step = currentStep();
  const visible = step >= curve.from && step < curve.to ? 'visible' : 'hidden';
  const x = coordinate(curveX(step + 0.5));
  fill(
    curve.cross,
    { x1: x, x2: x, visibility: visible, 'data-kept': view.kept === step ? 'true' : 'false' },
    [],
  );
  fill(curve.dot, { cx: x, cy: coordinate(curveY(view.order.live[step])), visibility: visible }, []);
  const { graph, order } = view;
  fill(
    curve.host,
    {
      'aria-valuemin': 0,
      'aria-valuemax': graph.count - 1,
      'aria-valuenow': step,
      'aria-valuetext': `step ${step}, ${graph.label(order.node[step])}, ${size(order.live[step])} live`,
    },
    [],
  );
}

// Shows when a buffer lives, or nothing.
function markLife(node) {
  if (!curve.life) return;
  if (node === null) {
    curve.life.setAttribute('visibility', 'hidden');
    return;
  }
  const first = curveX(Math.max(curve.from, view.order.step[node]));
  const end = curveX(Math.min(curve.to, view.order.until[node]));
  fill(
    curve.life,
    { x: first, width: Math.max(1.5, end - first), visibility: end > first ? 'visible' : 'hidden' },
    [],
  );
}

// --- zoom ---

function zoomCurve(from, to) {
  const count = view.graph.count;
  const span = Math.min(count, Math.max(Math.min(8, count), Math.round(to - from)));
  curve.from = Math.max(0, Math.min(count - span, Math.round(from)));
  curve.to = curve.from + span;
  at('curve-reset').disabled = span === count;
  drawCurve();
}

function zoomCurveBy(factor, middle = currentStep()) {
  const before = (middle - curve.from) * factor;
  zoomCurve(middle - before, middle - before + (curve.to - curve.from) * factor);
}

const showAllSteps = () => zoomCurve(0, view.graph.count);

// Zooms only so far that a step which keys have reached is visible.
function revealStep(step) {
  if (step >= curve.from && step < curve.to) return;
  const span = curve.to - curve.from;
  zoomCurve(step - span / 2, step + span / 2);
}

// --- pointing ---

function startCurvePointer() {
  let start = null;
  const place = (event) => event.clientX - curve.host.getBoundingClientRect().left;
  const select = (x) => {
    const from = Math.min(start, x),
      to = Math.max(start, x);
    fill(
      curve.selection,
      { x: from, width: to - from, visibility: to - from > 4 ? 'visible' : 'hidden' },
      [],
    );
  };
  curve.host.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    start = place(event);
    curve.host.setPointerCapture(event.pointerId);
  });
  curve.host.addEventListener('pointermove', (event) => {
    pointAtStep(stepAtX(place(event)));
    if (start !== null) select(place(event));
  });
  curve.host.addEventListener('pointerup', (event) => {
    if (start === null) return;
    const x = place(event),
      from = Math.min(start, x),
      to = Math.max(start, x);
    start = null;
    curve.selection.setAttribute('visibility', 'hidden');
    if (to - from > 4) zoomCurve(stepAtX(from), stepAtX(to) + 1);
    else keepStep(view.kept === stepAtX(x) ? null : stepAtX(x));
  });
  curve.host.addEventListener('pointercancel', () => {
    start = null;
  });
  curve.host.addEventListener('pointerleave', () => {
    if (start === null) pointAtStep(null);
  });
  curve.host.addEventListener('dblclick', showAllSteps);
  curve.host.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoomCurveBy(event.deltaY > 0 ? 1.25 : 0.8, stepAtX(place(event)));
    },
    { passive: false },
  );
}

function startCurveKeys() {
  const go = (step) => {
    const wanted = Math.min(view.graph.count - 1, Math.max(0, step));
    keepStep(wanted);
    revealStep(wanted);
  };
  const page = () => Math.max(1, Math.round((curve.to - curve.from) / 20));
  const keys = {
    ArrowLeft: () => go(currentStep() - 1),
    ArrowRight: () => go(currentStep() + 1),
    PageDown: () => go(currentStep() + page()),
    PageUp: () => go(currentStep() - page()),
    Home: () => go(0),
    End: () => go(view.graph.count - 1),
    p: () => go(view.order.peakStep),
    '+': () => zoomCurveBy(0.5),
    '=': () => zoomCurveBy(0.5),
    '-': () => zoomCurveBy(2),
    0: showAllSteps,
    Enter: () => keepStep(currentStep()),
    ' ': () => keepStep(currentStep()),
    Escape: () => keepStep(null),
  };
  curve.host.addEventListener('keydown', (event) => {
    const act = keys[event.key] || keys[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}

// --- orders: the legend, with figures ---

function orderRow(order) {
  const best = Math.min(...view.graph.orders.map((other) => other.peak));
  const bound = view.graph.bound;
  const above =
    order.peak > bound ? `+${((100 * (order.peak - bound)) / Math.max(1, bound)).toFixed(1)} %` : '';
  const visible = make('input', {
    type: 'checkbox',
    'aria-label': `Draw ${order.name}`,
    disabled: order === view.order,
    on: {
      change: () => {
        if (!view.hidden.delete(order)) view.hidden.add(order);
        drawCurve();
      },
    },
  });
  visible.checked = order === view.order || !view.hidden.has(order);
  const name = make(
    'button',
    {
      type: 'button',
      class: 'order',
      'aria-pressed': String(order === view.order),
      title: 'Look at this order',
      on: { click: () => lookAtOrder(order) },
    },
    swatch(orderColour(order)),
    order.name,
  );
  const by = order.chosen === order.name ? '' : ` by ${order.chosen}`;
  return make(
    'tr',
    { 'data-order': order.name, class: order === view.order ? 'focus' : null },
    make('td', { class: 'tick-cell' }, visible),
    make('th', { scope: 'row' }, name, make('span', { class: 'hint', text: by })),
    make('td', { class: 'number', text: size(order.peak) }),
    make('td', { class: 'number faint', text: whole(order.peak) }),
    make(
      'td',
      { class: 'number' },
      order.optimal ? make('span', { class: 'badge good', text: 'optimal' }) : make('span', { text: above }),
    ),
    make('td', {
      class: 'number',
      text:
        order.peak === best ? 'best' : `+${((100 * (order.peak - best)) / Math.max(1, best)).toFixed(1)} %`,
    }),
    make('td', { class: 'number', 'data-live': order.index }),
  );
}

function drawOrders() {
  at('orders').replaceChildren(
    make('caption', { class: 'hidden', text: 'Orders' }),
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        ...['', 'Order', 'Peak', 'bytes', 'Above bound', 'Above best', 'At step'].map((text, i) =>
          make('th', { scope: 'col', class: i > 1 ? 'number' : null, text }),
        ),
      ),
    ),
    make('tbody', {}, ...view.graph.orders.map(orderRow)),
  );
}

function drawOrdersAtStep() {
  const step = currentStep();
  for (const cell of document.querySelectorAll('#orders [data-live]'))
    cell.textContent = size(view.graph.orders[+cell.dataset.live].live[step]);
}

// --- legend of operations ---

function kindLegend(host, ops) {
  const known = kindColours.ranked.slice(0, MOST_COLOURS).filter((op) => ops.has(op));
  const others = [...ops].some((op) => !kindColours.number.has(op));
  host.replaceChildren(
    ...known.map((op) => make('span', {}, swatch(colourName(colourOf(op))), op)),
    ...(others ? [make('span', {}, swatch(colourName(MOST_COLOURS)), 'other')] : []),
  );
}

function setFill(byKind) {
  curve.byKind = byKind;
  at('fill-total').setAttribute('aria-pressed', String(!byKind));
  at('fill-kind').setAttribute('aria-pressed', String(byKind));
  at('curve-legend').hidden = !byKind;
  kindLegend(at('curve-legend'), new Set(view.graph.kinds.map((op) => op || 'node')));
  drawCurve();
}

function startCurve() {
  startCurvePointer();
  startCurveKeys();
  at('curve-reset').addEventListener('click', showAllSteps);
  at('fill-total').addEventListener('click', () => setFill(false));
  at('fill-kind').addEventListener('click', () => setFill(true));
  onResize(curve.host, drawCurve);
  on('order', () => {
    drawOrders();
    setFill(curve.byKind);
  });
  on('graph', () => {
    curve.from = 0;
    curve.to = view.graph.count;
    at('curve-reset').disabled = true;
  });
  on('step', () => {
    drawCross();
    drawOrdersAtStep();
  });
}
