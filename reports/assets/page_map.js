/* The layer x frequency map: one canvas, a switch between quantities, axes and cursor in SVG above it. */

/* The range of a quantity over all layers; quantities of one family share theirs, so that q, k and the control can be compared. */
const isShare = q => ['share', 'product'].includes(q.family);

function rangeOf(q) {
  if (q.family === 'R') return [0, 1];
  const values = run.quantities.filter(o => o.family === q.family && array('map/' + o.key)).flatMap(o => Array.from(array('map/' + o.key).data)).filter(Number.isFinite);
  if (q.log) return logDomain(values, 6);
  return [0, d3.scaleLinear().domain([0, d3.max(values) || 1]).nice(8).domain()[1]];
}

/* Colours by the square root for shares, where few cells hold much; by the logarithm for costs. */
function colourScale(q) {
  const [lo, hi] = rangeOf(q);
  if (isShare(q)) return { lo, hi, at: x => Math.sqrt(Math.max(0, x) / hi) };
  if (!q.log) return { lo, hi, at: x => (x - lo) / (hi - lo) };
  return { lo, hi, at: x => (x > 0 ? (Math.log10(x) - Math.log10(lo)) / (Math.log10(hi) - Math.log10(lo)) : 0) };
}

/* "share 0.083 (2.7 x uniform)" */
function valueWords(q, l, x) {
  if (Number.isNaN(x)) return `${q.label}: no value`;
  if (!isShare(q)) return `${q.label} ${num(x)}${q.log ? ' ' + q.unit : ''}`;
  return `${q.label} share ${num(x)} (${num(x * layerOf(l).pairs)} × uniform)`;
}

function headsWords(q, l) {
  const n = q.by_key_head ? layerOf(l).kv_heads : layerOf(l).heads;
  return n === 1 ? 'its one head' : `mean over ${n} ${q.by_key_head ? 'key ' : ''}heads`;
}

/* --- geometry --- */

function geometry(width, least) {
  const L = run.n_layers, F = run.n_pairs, ropes = run.ropes.filter(r => r.rotated > 0).slice(0, 3);
  const marks = run.rotates && ropes.length === 1 ? contextMarks(ropes[0]) : [];
  const left = 62, right = rowNotes().some(Boolean) ? 74 : 14, top = 16 + (ropes.length ? 14 + 20 * ropes.length : 0) + 14 * marks.length, bottom = 40;
  const cw = Math.max(least || (F > 96 ? 5 : 8), Math.min(34, (width - left - right) / F));
  const ch = L <= 24 ? 18 : L <= 40 ? 14 : L <= 64 ? 10 : 8;
  return { L, F, ropes, marks, left, right, top, bottom, cw, ch, w: cw * F, h: ch * L };
}

/* Where a pair's wavelength equals a context: to the right of it a pair does not complete a turn. */
function contextMarks(rope) {
  const out = [];
  const add = (key, words, t) => {
    const at = t > 0 ? pairAt(rope, t) : NaN;
    if (!Number.isNaN(at)) out.push({ key, words: `${words} context ${count(t)}`, at: at + 0.5 });
  };
  const same = run.context === run.trained_context;
  add('analysed', same ? 'analysed and trained' : 'analysed', run.context);
  if (!same) add('trained', 'trained', run.trained_context);
  return out;
}

/* What sets a layer's row apart from most: no rotation, another base, a window. */
function rowNotes() {
  const usual = run.ropes.reduce((a, b) => (b.layers.length > a.layers.length ? b : a)), windows = run.layers.map(y => y.window);
  const often = windows.reduce((a, w) => (windows.filter(o => o === w).length > windows.filter(o => o === a).length ? w : a), windows[0]);
  return run.layers.map((y, l) => {
    const r = ropeOf(l), words = [];
    if (r.rotated === 0 && run.rotates) words.push('NoPE');
    else if (r !== usual && r.base) words.push('base ' + short(r.base));
    if (y.window !== often) words.push(y.window ? 'window ' + short(y.window) : 'no window');
    return words[0] || '';
  });
}

/* --- drawing --- */

const paintCells = (canvas, geo, a, scale) => paintGrid(canvas, geo, (l, p) => {
  const x = cell(a, l, p);
  return p >= layerOf(l).pairs ? null : Number.isNaN(x) ? emptyColour() : ramp(scale.at(x));
});

function drawWavelengths(svg, geo) {
  geo.ropes.forEach((rope, i) => {
    const y = geo.top - 6 - 20 * (geo.ropes.length - 1 - i);
    const g = svg.append('g').attr('class', 'axis').attr('transform', `translate(${geo.left},${y})`);
    g.append('line').attr('x1', geo.cw / 2).attr('x2', geo.cw * (rope.rotated - 0.5)).attr('y1', 0).attr('y2', 0);
    for (const t of wavelengthTicks(rope)) {
      const at = (t.at + 0.5) * geo.cw;
      g.append('line').attr('x1', at).attr('x2', at).attr('y1', 0).attr('y2', -4);
      g.append('text').attr('x', at).attr('y', -6).attr('text-anchor', 'middle').text(t.text);
    }
    if (rope.rotated < rope.pairs) {
      g.append('text').attr('x', geo.cw * (rope.rotated + rope.pairs) / 2).attr('y', -6).attr('text-anchor', 'middle').text('not rotated');
      g.append('line').attr('class', 'mark').attr('x1', geo.cw * rope.rotated).attr('x2', geo.cw * rope.rotated).attr('y1', -10).attr('y2', geo.h + 6);
    }
    if (geo.ropes.length > 1) g.append('text').attr('x', -6).attr('y', -3).attr('text-anchor', 'end').text(rope.base ? 'base ' + short(rope.base) : 'table ' + i);
  });
  if (geo.ropes.length) {
    svg.append('text').attr('class', 'title').attr('x', geo.left).attr('y', 11).text('wavelength in tokens' + (geo.ropes.length > 1 ? ', by base' : ''));
  }
}

function drawMarks(svg, geo) {
  const g = svg.append('g').attr('transform', `translate(${geo.left},${geo.top})`);
  geo.marks.forEach((m, i) => {
    const x = m.at * geo.cw, y = -geo.top + 26 + 14 * i, words = (geo.w > 520 ? 'wavelength = ' : '') + m.words, right = x + 6.2 * words.length > geo.w;
    for (const cls of ['mark halo', 'mark ' + m.key]) g.append('line').attr('class', cls).attr('x1', x).attr('x2', x).attr('y1', cls === 'mark halo' ? 0 : y - 8).attr('y2', geo.h);
    g.append('text').attr('class', 'haloed').attr('x', x + (right ? -5 : 5)).attr('y', y).attr('text-anchor', right ? 'end' : 'start').text(words);
  });
}

function drawFrame(svg, geo) {
  const g = svg.append('g').attr('class', 'axis').attr('transform', `translate(${geo.left},${geo.top})`);
  const rows = geo.ch >= 12 ? 2 : 5, columns = Math.max(1, [1, 2, 4, 8, 16].find(s => s * geo.cw >= (geo.F > 100 ? 28 : 22)) || 16);
  for (let l = 0; l < geo.L; l++) {
    if (l % rows) continue;
    g.append('text').attr('x', -6).attr('y', (l + 0.5) * geo.ch + 4).attr('text-anchor', 'end').text(l);
  }
  for (let p = 0; p < geo.F; p += columns) {
    g.append('line').attr('x1', (p + 0.5) * geo.cw).attr('x2', (p + 0.5) * geo.cw).attr('y1', geo.h).attr('y2', geo.h + 4);
    g.append('text').attr('x', (p + 0.5) * geo.cw).attr('y', geo.h + 15).attr('text-anchor', 'middle').text(p);
  }
  g.append('rect').attr('width', geo.w).attr('height', geo.h).attr('fill', 'none').attr('stroke', 'var(--line)');
  g.append('text').attr('class', 'title').attr('x', geo.w / 2).attr('y', geo.h + 33).attr('text-anchor', 'middle')
    .text(run.rotates ? 'pair, fastest to slowest' + (run.ropes.some(r => r.rotated > 0 && r.rotated < r.pairs) ? ', then those not rotated' : '') : 'component pair (nothing rotates)');
  g.append('text').attr('class', 'title').attr('transform', `translate(${-geo.left + 14},${geo.h / 2}) rotate(-90)`).attr('text-anchor', 'middle').text('layer, first on top');
  rowNotes().forEach((words, l) => {
    if (words && (geo.ch >= 11 || l % 2 === 0)) g.append('text').attr('x', geo.w + 6).attr('y', (l + 0.5) * geo.ch + 4).text(words);
  });
}

/* Ticks at least `room` pixels apart, the first one and then the largest preferred. */
function apart(ticks, x, room) {
  const kept = [ticks[0]];
  for (const t of ticks.slice(1).reverse()) if (kept.every(k => Math.abs(x(k) - x(t)) >= room)) kept.push(t);
  return kept;
}

/* The scale's bar with its numbers. */
function drawLegend(box, q, scale) {
  const w = 260, x = q.log ? d3.scaleLog().domain([scale.lo, scale.hi]).range([0, w]) : isShare(q) ? d3.scaleSqrt().domain([0, scale.hi]).range([0, w]) : d3.scaleLinear().domain([scale.lo, scale.hi]).range([0, w]);
  const g = colourBar({
    title: q.label + ', ' + q.unit + (isShare(q) ? ' (square-root scale)' : q.log ? ' (logarithmic scale)' : ''), label: `colour scale from ${num(scale.lo)} to ${num(scale.hi)}`, width: w, colour: ramp, x,
    ticks: q.log ? decades([scale.lo, scale.hi], 7) : isShare(q) ? apart([0, ...[1e-3, 1e-2, 1e-1].flatMap(e => [e, 2 * e, 5 * e])].filter(t => t <= scale.hi), x, 34) : x.ticks(5), format: t => (q.log && t === scale.lo ? '≤' : '') + short2(t),
  });
  const uniform = isShare(q) && 1 / run.n_pairs < scale.hi;
  if (uniform) {
    const at = x(1 / run.n_pairs);
    g.append('line').attr('class', 'mark').attr('x1', at).attr('x2', at).attr('y1', -3).attr('y2', 13);
  }
  box.replaceChildren(g.node().ownerSVGElement, ...(uniform ? [make('span', null, `Mark: uniform share, 1/${run.n_pairs} = ${num(1 / run.n_pairs)}.`)] : []));
}
const short2 = t => (t === 0 ? '0' : t < 0.01 ? short(t) : d3.format('.2~r')(t));

/* --- the heads of a cell --- */

/* Opens below the map: the cell's value for each head, each a way into the head view. */
function showCellHeads(panel, q, l, p, close) {
  const a = array(q.dataset), n = q.by_key_head ? layerOf(l).kv_heads : layerOf(l).heads, scale = colourScale(q);
  const of = layerOf(l).heads / layerOf(l).kv_heads;
  const rows = Array.from({ length: n }, (_, h) => ({ h, x: cell(a, l, h, p) }));
  const top = q.log ? scale.hi : d3.max(rows, r => r.x) || 1;
  const length = x => (Number.isNaN(x) ? 0 : q.log ? Math.max(0, scale.at(x)) : x / top) * 220;
  const bar = x => d3.create('svg').attr('width', 224).attr('height', 11).attr('aria-hidden', 'true')
    .call(s => s.append('rect').attr('class', 'bar').style('--c', 'var(--soft)').attr('width', length(x)).attr('height', 11)).node();
  const link = h => make('a', { href: `#l${l}h${h}` }, `head ${h}`);
  const name = h => {
    if (!q.by_key_head || of <= 1) return [link(h)];
    const group = d3.range(Math.ceil(h * of), Math.ceil((h + 1) * of));
    return [`key head ${h}: `, ...group.flatMap((x, i) => (i ? [', ', link(x)] : [link(x)]))];
  };
  const body = rows.map(r => make('tr', null, make('td', { class: 't w' }, ...name(r.h)), make('td', null, num(r.x)), make('td', { class: 't' }, bar(r.x))));
  const title = make('h3', { tabindex: '-1' }, `Heads of layer ${l}, pair ${p} (${wavelengthWords(l, p)}): ${q.label}`);
  panel.replaceChildren(title, make('div', { class: 'box' }, make('table', { class: 'short' }, make('tbody', null, ...body))),
    make('p', { class: 'tools' }, make('button', { type: 'button', onclick: close }, 'Close (Esc)')));
  panel.hidden = false;
  title.focus({ preventScroll: true });
}

/* --- the figure --- */

function mapSwitch(quantities, choose) {
  const field = make('fieldset', { class: 'switch', role: 'radiogroup', 'aria-label': 'Quantity shown in the map' });
  quantities.forEach((q, i) => {
    field.append(make('label', null, make('input', { type: 'radio', name: 'quantity', value: q.key, checked: i === 0, onchange: () => choose(q) }), q.label));
  });
  return field;
}

function layerMap(figure) {
  const quantities = run.quantities.filter(q => array('map/' + q.key));
  if (quantities.length === 0) return;
  const before = figure.querySelector('figcaption'), title = figure.querySelector('h3');
  const readout = make('output', { class: 'readout', 'aria-live': 'polite', id: 'map-readout' });
  const scroll = make('div', { class: 'scroll' }), holder = make('div', { class: 'map', id: 'map-cells', tabindex: '0', role: 'application', 'aria-label': 'Layer by pair map. Arrow keys move between cells, Enter opens the heads of a cell.' });
  const legend = make('div', { class: 'legend' }), panel = make('div', { class: 'cell-heads', hidden: true });
  const canvas = make('canvas', { 'aria-hidden': 'true' });
  const state = { q: quantities[0], geo: null, outline: null, tools: null };
  const hint = 'Point at a cell, or focus the map and use the arrow keys. A click or Enter opens the heads of the cell.';

  const closePanel = () => {
    if (panel.hidden) return false;
    panel.hidden = true;
    holder.focus({ preventScroll: true });
    return true;
  };
  const cursor = gridCursor({
    holder, canvas, geo: () => state.geo, outline: () => state.outline, columns: l => layerOf(l).pairs, hint, readout,
    say: (l, p) => `layer ${l}, pair ${p}: ${wavelengthWords(l, p)}, ${valueWords(state.q, l, cell(array('map/' + state.q.key), l, p))}, ${headsWords(state.q, l)}`,
    open: () => showCellHeads(panel, state.q, cursor.at.l, cursor.at.p, closePanel),
  });
  closers.push(closePanel);

  const draw = width => {
    const geo = (state.geo = geometry(width)), a = array('map/' + state.q.key), scale = colourScale(state.q);
    holder.style.width = geo.left + geo.w + geo.right + 'px';
    const svg = d3.create('svg').attr('width', geo.left + geo.w + geo.right).attr('height', geo.top + geo.h + geo.bottom).attr('aria-hidden', 'true');
    const marks = d3.create('svg').attr('width', geo.left + geo.w + geo.right).attr('height', geo.top + geo.h + geo.bottom).attr('aria-hidden', 'true').attr('class', 'overlay');
    drawFrame(svg, geo);
    drawWavelengths(marks, geo);
    drawMarks(marks, geo);
    state.outline = cursorOutline(marks.append('g'));
    paintCells(canvas, geo, a, scale);
    holder.replaceChildren(svg.node(), canvas, marks.node());
    drawLegend(legend, state.q, scale);
    title.textContent = state.q.title;
    cursor.show();
  };

  scroll.append(holder);
  figure.insertBefore(mapSwitch(quantities, q => { state.q = q; panel.hidden = true; draw(scroll.clientWidth); state.tools.refresh(); }), before);
  figure.insertBefore(make('div', null, readout, scroll, legend), before);
  onWidth(scroll, draw);
  state.tools = addTools(figure, () => {
    const a = array('map/' + state.q.key);
    return {
      columns: ['layer', ...d3.range(run.n_pairs).map(p => 'pair ' + p)],
      rows: d3.range(run.n_layers).map(l => [String(l), ...d3.range(run.n_pairs).map(p => cell(a, l, p))]),
    };
  });
  figure.append(panel);
}
