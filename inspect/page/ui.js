// Elements, the tooltip, the theme, and the state that the parts of the page share.
// SPDX-License-Identifier: GPL-3.0-or-later

const at = (id) => document.getElementById(id);

// An element with attributes ("text" is its text, "on" its listeners) and children. Text from the
// facts never becomes markup.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') element.textContent = value;
    else if (name === 'on')
      for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

const swatch = (colour) => make('i', { class: 'swatch', style: `background:${colour}` });

// --- what is looked at ---

const view = { graph: null, order: null, hidden: new Set(), hover: null, kept: null, listeners: {} };

const on = (event, call) => (view.listeners[event] ||= []).push(call);
const tell = (event) => (view.listeners[event] || []).forEach((call) => call());

// The step that is looked at: the one pointed at, else the one kept, else the peak's.
const currentStep = () => view.hover ?? view.kept ?? view.order.peakStep;

function lookAtGraph(graph) {
  Object.assign(view, {
    graph,
    order: graph.orders[graph.shown],
    hidden: new Set(),
    hover: null,
    kept: null,
  });
  tell('graph');
  tell('order');
  tell('step');
}

function lookAtOrder(order) {
  Object.assign(view, { order, hover: null, kept: null });
  view.hidden.delete(order);
  tell('order');
  tell('step');
}

let stepPending = false;

function pointAtStep(step) {
  if (view.hover === step) return;
  view.hover = step;
  if (stepPending) return;
  stepPending = true;
  requestAnimationFrame(() => {
    stepPending = false;
    tell('step');
  });
}

function keepStep(step) {
  view.kept = step;
  view.hover = null;
  tell('step');
}

// --- the tooltip ---

function showTip(event, ...children) {
  const tip = at('tip');
  tip.replaceChildren(...children);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
  const top = event.clientY + 16 + height > innerHeight ? event.clientY - 16 - height : event.clientY + 16;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}

const hideTip = () => {
  at('tip').hidden = true;
};

// --- axes ---

// Round numbers from `least` to `most`, about `count` of them, in a unit.
function ticks(least, most, count, unit = 1) {
  const rough = (most - least) / unit / count;
  if (!(rough > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.8) * power * unit;
  const found = [];
  for (let k = Math.ceil(least / step); k * step <= most * 1.000001; k++) found.push(k * step);
  return found;
}

const unitOf = (bytes) =>
  1024 ** Math.min(5, Math.max(0, Math.floor(Math.log(Math.max(1, bytes)) / Math.log(1024))));
const byteTicks = (least, most, count) => ticks(least, most, count, unitOf(most));
const stepTicks = (least, most, count) => ticks(least, most, count).filter(Number.isInteger);

function byteLabel(bytes, most) {
  const unit = unitOf(most);
  return `${+(bytes / unit).toFixed(2)} ${units[Math.round(Math.log(unit) / Math.log(1024))]}`;
}

// --- theme ---

const themes = ['auto', 'light', 'dark'];

function readTheme() {
  try {
    return localStorage.getItem('tandem-theme');
  } catch {
    return null;
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  at('theme').textContent = theme[0].toUpperCase() + theme.slice(1);
  at('theme').setAttribute('aria-label', `Colours: ${theme === 'auto' ? 'as the system' : theme}`);
  try {
    localStorage.setItem('tandem-theme', theme);
  } catch {
    /* a page from a file may have no storage */
  }
  tell('theme');
}

function startTheme() {
  const stored = readTheme();
  setTheme(themes.includes(stored) ? stored : 'auto');
  at('theme').addEventListener('click', () =>
    setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length]),
  );
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => tell('theme'));
}

// Calls back when an element's width has changed.
function onResize(element, call) {
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    call();
  }).observe(element);
}
