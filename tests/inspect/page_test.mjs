// The page of tandem inspect in headless Chromium: it renders, pointing at a step lists who is live,
// sorting works, and the console stays empty.
//
//     node page_test.mjs CHROMIUM PAGE FACTS [PAGE FACTS ...]
//
// Each PAGE was written by --html and FACTS by --json, from the same graph with the same options.
// The first pair is a graph with several orders; the second, if given, has hostile names; the third
// is a program; the fourth is large.
// SPDX-License-Identifier: GPL-3.0-or-later
import { chromium } from 'playwright-core';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const [, , executablePath, ...files] = process.argv;
const inputs = [];
for (let i = 0; i + 1 < files.length; i += 2)
  inputs.push({ page: resolve(files[i]), facts: JSON.parse(readFileSync(files[i + 1], 'utf8')) });
const [several, hostile, program, large] = inputs;

function hold(condition, message) {
  if (!condition) throw new Error(message);
}

const equal = (found, expected, what) =>
  hold(
    JSON.stringify(found) === JSON.stringify(expected),
    `${what}: ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`,
  );

// --- what must be shown, straight from the facts ---

const shownOrder = (graph) => graph.orders[graph.shown];

// Bytes of the buffers that are live at a step, the largest first, and the workspace of the step.
function liveAt(graph, order, step) {
  const stepOf = new Array(graph.nodes.count);
  order.order.forEach((node, at) => {
    stepOf[node] = at;
  });
  const bytes = [];
  for (let node = 0; node < graph.nodes.count; node++)
    if (stepOf[node] <= step && step < stepOf[node] + order.lifetime[node] && graph.nodes.bytes[node] > 0)
      bytes.push(graph.nodes.bytes[node]);
  const scratch = graph.nodes.workspace[order.order[step]];
  return { buffers: bytes.sort((a, b) => b - a), scratch };
}

// --- the browser ---

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });

// A page whose every complaint and every request for another file is kept.
async function open(input, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (message) => page.complaints.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('dialog', (dialog) => {
    page.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (request.url() !== `file://${input.page}` && !request.url().startsWith('data:'))
      page.complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(`file://${input.page}`);
  await page.waitForSelector('#curve-plot svg');
  return page;
}

const bytesOf = (page, selector) =>
  page.$$eval(selector, (all) => all.map((one) => Number(one.dataset.bytes)));
const nodesOf = (page) =>
  page.$$eval('#nodes-table tbody tr[data-node]', (all) => all.map((one) => Number(one.dataset.node)));

// Lets what a pointer or key has started be drawn.
const settle = (page) =>
  page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

async function pointAt(page, share) {
  const box = await page.locator('#curve-plot').boundingBox();
  await page.mouse.move(box.x + 66 + (box.width - 80) * share, box.y + box.height / 2);
  await settle(page);
  return Number(await page.getAttribute('#curve-plot', 'aria-valuenow'));
}

const cell = (key) => ({ step: 1, node: 2, op: 3, bytes: 4 })[key];

async function columnOf(page, key) {
  return page.$$eval(`#nodes-table tbody tr[data-node] td:nth-child(${cell(key)})`, (all) =>
    all.map((one) => one.textContent),
  );
}

const numbers = (texts) => texts.map((text) => Number(text.replaceAll(',', '')));
const sorted = (list, compare) => JSON.stringify(list) === JSON.stringify([...list].sort(compare));

// --- tests ---

const tests = {
  async it_renders(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    equal(await bytesOf(page, '[data-card=peak]'), [order.peak], 'the card of the peak');
    equal(await bytesOf(page, '[data-card="lower bound"]'), [graph.lower_bound], 'the card of the bound');
    equal(await bytesOf(page, '[data-card=arena]'), [several.facts.arenas[0].bytes], 'the card of the arena');
    equal(
      await page.$$eval('#orders [data-order]', (rows) => rows.map((row) => row.dataset.order)),
      graph.orders.map((one) => one.orderer),
      'orders that are listed',
    );
    equal(await page.locator('#curve-plot path.line').count(), graph.orders.length, 'curves');
    const painted = await page.$eval('#arena-plot canvas', (canvas) => {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0;
      for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
      return count / (pixels.length / 4);
    });
    hold(painted > 0.05, `only ${painted} of the arena's map is painted`);
  },

  async the_peak_is_looked_at_first(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    equal(await page.getAttribute('#curve-plot', 'aria-valuenow'), String(order.peak_step), 'the step');
    equal(await bytesOf(page, '#live-facts .total'), [order.peak], 'live bytes at the peak');
    const { buffers } = liveAt(graph, order, order.peak_step);
    equal(
      (await bytesOf(page, '#peak-buffers li')).slice(0, 10),
      buffers.slice(0, 10),
      'buffers at the peak',
    );
  },

  async pointing_at_a_step_lists_who_is_live(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    for (const share of [0.1, 0.35, 0.5, 0.8]) {
      const step = await pointAt(page, share);
      hold(Math.abs(step - share * graph.nodes.count) < graph.nodes.count * 0.02, `step ${step} at ${share}`);
      const { buffers, scratch } = liveAt(graph, order, step);
      equal(await bytesOf(page, '#live-facts .total'), [order.live[step]], `live bytes at step ${step}`);
      equal(
        (await bytesOf(page, '#live-list li')).slice(0, Math.min(80, buffers.length)),
        buffers.slice(0, 80),
        `buffers at step ${step}`,
      );
      equal(
        (await bytesOf(page, '#live-list li')).reduce((sum, bytes) => sum + bytes, 0),
        buffers.reduce((sum, bytes) => sum + bytes, 0) + scratch,
        `the sum of the list at step ${step}`,
      );
    }
    await page.mouse.move(5, 5);
    await settle(page);
    equal(
      await page.getAttribute('#curve-plot', 'aria-valuenow'),
      String(order.peak_step),
      'the step when nothing is pointed at',
    );
  },

  async a_click_keeps_a_step(page) {
    const step = await pointAt(page, 0.3);
    await page.mouse.down();
    await page.mouse.up();
    await page.mouse.move(5, 5);
    await settle(page);
    equal(await page.getAttribute('#curve-plot', 'aria-valuenow'), String(step), 'the step that was kept');
    hold(await page.isVisible('#live-kept'), 'the page does not say that the step is kept');
  },

  async keys_go_from_step_to_step(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    const now = () => page.getAttribute('#curve-plot', 'aria-valuenow');
    await page.focus('#curve-plot');
    for (const [key, step] of [
      ['Home', 0],
      ['ArrowRight', 1],
      ['ArrowRight', 2],
      ['ArrowLeft', 1],
      ['End', graph.nodes.count - 1],
      ['ArrowRight', graph.nodes.count - 1],
      ['p', order.peak_step],
    ]) {
      await page.keyboard.press(key);
      await settle(page);
      equal(await now(), String(step), `the step after ${key}`);
    }
    await page.keyboard.press('+');
    hold(await page.isEnabled('#curve-reset'), '+ does not zoom');
    await page.keyboard.press('0');
    hold(await page.isDisabled('#curve-reset'), '0 does not show all');
    await page.keyboard.press('Escape');
    await settle(page);
    hold(!(await page.isVisible('#live-kept')), 'Escape does not let go');
  },

  async dragging_zooms(page) {
    const before = await page.$$eval('#curve-plot text.tick', (all) =>
      all.map((one) => one.textContent).join(),
    );
    await pointAt(page, 0.4);
    await page.mouse.down();
    await pointAt(page, 0.5);
    await page.mouse.up();
    const after = await page.$$eval('#curve-plot text.tick', (all) =>
      all.map((one) => one.textContent).join(),
    );
    hold(before !== after && (await page.isEnabled('#curve-reset')), 'dragging does not zoom');
    await page.click('#curve-reset');
    equal(
      await page.$$eval('#curve-plot text.tick', (all) => all.map((one) => one.textContent).join()),
      before,
      'ticks after the zoom',
    );
  },

  async another_order_can_be_looked_at(page) {
    const graph = several.facts.graphs[0];
    for (const order of graph.orders) {
      await page.click(`#orders [data-order=${order.orderer}] button`);
      equal(await bytesOf(page, '[data-card=peak]'), [order.peak], `the peak of ${order.orderer}`);
      equal(
        await bytesOf(page, '#live-facts .total'),
        [order.peak],
        `live bytes at the peak of ${order.orderer}`,
      );
    }
  },

  async a_curve_can_be_hidden(page) {
    const graph = several.facts.graphs[0];
    const other = graph.orders.find((_, i) => i !== graph.shown).orderer;
    await page.uncheck(`#orders [data-order=${other}] input`);
    equal(await page.locator('#curve-plot path.line').count(), graph.orders.length - 1, 'curves');
    await page.click('#fill-kind');
    hold((await page.locator('#curve-plot path.kind').count()) > 0, 'no areas by operation');
  },

  async sorting_works(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    hold(
      sorted(numbers(await columnOf(page, 'step')), (a, b) => a - b),
      'rows do not begin in order of steps',
    );
    await page.click('#nodes-table [data-key=bytes]');
    equal(
      numbers(await columnOf(page, 'bytes')).slice(0, 20),
      [...graph.nodes.bytes].sort((a, b) => b - a).slice(0, 20),
      'the largest',
    );
    equal(await page.getAttribute('#nodes-table th:nth-child(4)', 'aria-sort'), 'descending', 'aria-sort');
    await page.click('#nodes-table [data-key=bytes]');
    equal(
      numbers(await columnOf(page, 'bytes')).slice(0, 20),
      [...graph.nodes.bytes].sort((a, b) => a - b).slice(0, 20),
      'the smallest',
    );
    await page.click('#nodes-table [data-key=op]');
    hold(sorted(await columnOf(page, 'op')), 'operations are not in order');
    await page.click('#nodes-table [data-key=step]');
    equal(await nodesOf(page), order.order.slice(0, (await nodesOf(page)).length), 'nodes by step');
  },

  async rows_follow_the_scroll(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    await page.$eval('#nodes-scroll', (element) => {
      element.scrollTop = element.scrollHeight;
    });
    await settle(page);
    await settle(page);
    const nodes = await nodesOf(page);
    equal(nodes[nodes.length - 1], order.order[graph.nodes.count - 1], 'the last row');
    hold(nodes.length < 100, `${nodes.length} rows are elements`);
  },

  async filtering_works(page) {
    const graph = several.facts.graphs[0],
      order = shownOrder(graph);
    const name = graph.nodes.name[order.order[7]];
    await page.fill('#nodes-filter', name.toUpperCase());
    const expected = order.order.filter((node) =>
      graph.nodes.name[node].toLowerCase().includes(name.toLowerCase()),
    );
    equal(await nodesOf(page), expected.slice(0, (await nodesOf(page)).length), 'rows by name');
    await page.fill('#nodes-filter', '');
    await page.check('#nodes-live');
    const { buffers } = liveAt(graph, order, order.peak_step);
    hold(
      (await page.textContent('#nodes-count')).startsWith(`${buffers.length} of `) ||
        buffers.length === graph.nodes.count,
      `live rows: ${await page.textContent('#nodes-count')}, expected ${buffers.length}`,
    );
  },

  async the_map_names_its_buffers(page) {
    const arena = several.facts.arenas[0],
      graph = several.facts.graphs[0];
    const middle = (i) => [
      (arena.first[i] + arena.until[i]) / 2 / arena.steps,
      (arena.offset[i] + arena.bytes_of[i] / 2) / arena.bytes,
    ];
    const area = (i) => (arena.until[i] - arena.first[i]) * arena.bytes_of[i];
    const largest = arena.node.map((_, i) => i).sort((a, b) => area(b) - area(a))[0];
    await page.locator('#arena-plot').scrollIntoViewIfNeeded();
    const box = await page.locator('#arena-plot').boundingBox();
    const [across, up] = middle(largest);
    await page.mouse.move(box.x + 66 + (box.width - 80) * across, box.y + 20 + (box.height - 46) * (1 - up));
    await settle(page);
    equal(await page.textContent('#tip b'), graph.nodes.name[arena.node[largest]], 'the buffer pointed at');
    await page.click('#arena-in');
    await page.mouse.move(5, 5);
    hold(await page.isHidden('#tip'), 'the tooltip stays');
  },

  async themes_change(page) {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.click('#theme');
    equal(await background(), light, 'a light system in light');
    await page.click('#theme');
    hold((await background()) !== light, 'dark is as light');
  },

  async it_fits_a_telephone() {
    for (const input of inputs) {
      const page = await open(input, {
        viewport: { width: 390, height: 800 },
        colorScheme: 'dark',
        hasTouch: true,
      });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      hold(width <= 390, `${input.page}: ${width} pixels wide`);
      equal(page.complaints, [], 'complaints');
      await page.context().close();
    }
  },
};

if (hostile)
  tests.hostile_names_are_text = async () => {
    const page = await open(hostile);
    const graph = hostile.facts.graphs[0];
    const shown = await page.$$eval('#nodes-table tbody button.name', (all) =>
      all.map((one) => one.textContent),
    );
    for (const name of graph.nodes.name.filter((one) => one !== ''))
      hold(shown.includes(name), `${JSON.stringify(name)} is not shown`);
    equal(
      await page.locator('img, iframe, object, a[href^=javascript]').count(),
      0,
      'elements made from names',
    );
    equal(await page.locator('script').count(), 2, 'scripts');
    equal(page.complaints, [], 'complaints');
    await page.context().close();
  };

if (program)
  tests.a_program_has_its_budget = async () => {
    const page = await open(program);
    const { parts, resident } = program.facts.budget;
    const rows = await page.$$eval('#budget-table tr[data-part]', (all) =>
      all.map((row) => [
        row.dataset.part,
        Number(row.querySelectorAll('td')[1].textContent.replaceAll(',', '')),
      ]),
    );
    for (const part of parts) equal(rows.find(([name]) => name === part.name)?.[1], part.bytes, part.name);
    equal(rows.find(([name]) => name === 'resident')[1], resident, 'resident');
    const tabs = page.locator('#graphs [role=tab]');
    const shown = program.facts.graphs.filter((graph) => shownOrder(graph).peak > 0);
    equal(await tabs.count(), shown.length, 'graphs with buffers');
    for (let i = 0; i < shown.length; i++) {
      await tabs.nth(i).click();
      equal(
        await bytesOf(page, '[data-card=peak]'),
        [shownOrder(shown[i]).peak],
        `the peak of ${shown[i].name}`,
      );
      equal(await tabs.nth(i).getAttribute('aria-selected'), 'true', 'aria-selected');
    }
    equal(page.complaints, [], 'complaints');
    await page.context().close();
  };

if (large)
  tests.a_large_graph_answers_at_once = async () => {
    const start = Date.now();
    const page = await open(large);
    const loaded = Date.now() - start;
    const moves = Date.now();
    for (let i = 1; i <= 10; i++) await pointAt(page, i / 11);
    const answer = (Date.now() - moves) / 10;
    await page.click('#nodes-table [data-key=bytes]');
    const size = await page
      .locator('#curve-plot path.line.focus')
      .evaluate((path) => path.getAttribute('d').length);
    hold(size < 100000, `a curve of ${size} characters`);
    const most = large.facts.graphs[0].orders.map((order) => order.peak);
    equal(await bytesOf(page, '[data-card=peak]'), [most[large.facts.graphs[0].shown]], 'the peak');
    // Generous: the machine that tests may be busy.
    hold(loaded < 15000 && answer < 1500, `loaded in ${loaded} ms, a step in ${answer} ms`);
    equal(page.complaints, [], 'complaints');
    await page.context().close();
  };

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  let page = null;
  try {
    if (test.length > 0) page = await open(several);
    await test(page);
    if (page) equal(page.complaints, [], 'complaints');
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`    ${error.message}\nFAILED ${name}`);
    failed++;
  }
  if (page) await page.context().close();
}
await browser.close();
process.exitCode = failed > 0 ? 1 : 0;
