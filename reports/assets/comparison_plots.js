/* Pictures with one row per variant (marks, stacked bars), small maps, the bar of a colour scale. */

const real = x => (x === null || x === undefined ? NaN : x);
const variants = run.variants.map((v, i) => ({
  ...v, i, colour: `var(--variant-${(i % 8) + 1})`, dash: i % 4, shown: v.runs.map(r => run.runs[r]), compared: v.n_compared > 0,
  note: v.n_compared > 0 ? '' : 'not compared',
}));
const first = variants[0];
const quantityOf = key => run.quantities.find(q => q.key === key);
const HINT = 'Point at the picture, or focus it and use the arrow keys.';
const noted = v => v.label + (v.note && ` (${v.note})`);

/* Room for the labels of rows, in pixels: the longest of them, within reason. */
function labelRoom(rows, width) {
  const longest = d3.max(rows, r => Math.max(r.name.length, (r.note || '').length)) || 0;
  return Math.min(Math.round(longest * 6.4) + 12, Math.max(70, width * 0.42));
}

/* Cut to the room there is; the whole name is in the title. A note stands below. */
function rowLabel(g, r, y, room) {
  const most = Math.max(4, Math.floor((room - 10) / 6.4)), at = g.append('g').attr('transform', `translate(-8,${y - (r.note ? 6 : 0)})`);
  at.append('text').attr('class', 'title').attr('dy', '.35em').attr('text-anchor', 'end')
    .text(r.name.length > most ? r.name.slice(0, most - 1) + '…' : r.name).append('title').text(r.name);
  if (r.note) at.append('text').attr('y', 13).attr('dy', '.35em').attr('text-anchor', 'end').text(r.note);
}

/* Marks that would cover one another step aside, up and down in turn, closer together where there are more than the row has room for.
 * Returns the step of each mark. */
function stepAside(marks, x, r, room) {
  const places = new Map(), order = marks.map(m => {
    const place = Math.round(x(m.x) / (1.7 * r)), k = places.get(place) || 0;
    places.set(place, k + 1);
    return { place, k };
  });
  return order.map(({ place, k }) => (k % 2 ? -1 : 1) * Math.ceil(k / 2) * Math.min(1.9 * r, (2 * room) / places.get(place)));
}

/* One path for all marks: thousands of heads are one node. */
const circles = (points, r) => points.map(([x, y]) => `M${(x - r).toFixed(1)},${y.toFixed(1)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`).join('');

function drawMarks(s, marks, x, y, r, room) {
  const known = marks.filter(m => Number.isFinite(m.x)), aside = stepAside(known, x, r, room);
  for (const [cls, open] of [['ring', true], ['dot', false]]) {
    const points = known.map((m, k) => [x(m.x), y + aside[k], Boolean(m.open)]).filter(p => p[2] === open);
    if (points.length) s.append('path').attr('class', cls).attr('d', circles(points, r));
  }
}

/* A picture of rows in a figure: labels on the left, a scale below, what a row says by pointer and arrow keys.
 * o: {rows: [{name, note?, say}], heights: of each, gap(i) above it, x: {domain, label, ticks?, format?}, draw(g, i, x, top, height), legend?,
 *     numbers?(), label, title?, hint?} */
function rowsFigure(figure, o) {
  const before = figure.querySelector('figcaption'), box = make('div', { class: 'plot' }), readout = make('output', { class: 'readout', 'aria-live': 'polite' });
  figure.insertBefore(o.title ? make('h4', null, o.title) : legendOf(o.legend || []), before);
  figure.insertBefore(make('div', null, box, readout), before);
  onWidth(box, width => {
    const left = labelRoom(o.rows, width), m = { top: 8, right: 18, bottom: 40 }, w = width - left - m.right;
    let h = 0;
    const tops = o.rows.map((_, i) => { h += i > 0 && o.gap ? o.gap(i) : 0; h += o.height; return h - o.height; });
    const x = d3.scaleLinear().domain(o.x.domain).range([0, w]), ticks = x.ticks(Math.max(2, Math.floor(w / 60)));
    const svg = d3.create('svg').attr('width', width).attr('height', m.top + h + m.bottom).attr('role', 'img').attr('aria-label', o.label);
    const g = svg.append('g').attr('transform', `translate(${left},${m.top})`);
    g.append('g').attr('class', 'grid').selectAll('line').data(ticks).join('line').attr('x1', x).attr('x2', x).attr('y2', h);
    g.append('g').attr('class', 'axis').attr('transform', `translate(0,${h})`).call(d3.axisBottom(x).tickValues(ticks).tickFormat(o.x.format || num).tickSize(4));
    g.append('text').attr('class', 'title').attr('x', w / 2).attr('y', h + 33).attr('text-anchor', 'middle').text(o.x.label);
    o.rows.forEach((r, i) => {
      if (r.name) rowLabel(g, r, tops[i] + o.height / 2, left);
      o.draw(g.append('g').style('--c', r.colour || null), i, x, tops[i], o.height);
    });
    addReading(svg, g, { at: tops.map(t => t + o.height), length: w, before: m.top + o.height / 2, down: true, say: i => o.rows[i].say, hint: o.hint === undefined ? HINT : o.hint }, readout);
    box.replaceChildren(svg.node());
  });
  if (o.numbers) addTools(figure, o.numbers);
}

/* o.rows: [{name, colour, marks: [{x, open}], mean, lo, hi, say}]; crowded: the mean stands before the marks. The rest as in rowsFigure. */
function markRows(figure, o) {
  const x0 = o.x.domain[0], x1 = o.x.domain[1];
  rowsFigure(figure, {
    ...o,
    draw(g, i, x, top, height) {
      const row = o.rows[i], y = top + height / 2, r = o.r || 4, tick = cls => row.marks.length > 1 && Number.isFinite(row.mean) && g.append('line').attr('class', cls).attr('x1', x(row.mean)).attr('x2', x(row.mean)).attr('y1', y - height * 0.36).attr('y2', y + height * 0.36);
      if (Number.isFinite(row.lo)) g.append('line').attr('class', 'err').attr('x1', x(Math.max(row.lo, x0))).attr('x2', x(Math.min(row.hi, x1))).attr('y1', y).attr('y2', y);
      if (!o.crowded) tick('mean');
      drawMarks(g, row.marks, x, y, r, height / 2 - 2 * r);
      if (o.crowded) { tick('mean halo'); tick('mean'); }
    },
  });
}

/* o.rows: [{name, parts: [{share, colour, words}], say}]: stacked to 100%. */
function barRows(figure, o) {
  rowsFigure(figure, {
    ...o, x: { domain: [0, 1], label: 'share of the heads', format: d3.format('.0%') },
    draw(g, i, x, top, height) {
      let from = 0;
      for (const p of o.rows[i].parts) {
        g.append('g').style('--c', p.colour).append('rect').attr('class', 'bar edged').attr('x', x(from)).attr('width', x(p.share)).attr('y', top + 1).attr('height', height - 3)
          .append('title').text(p.words);
        from += p.share;
      }
    },
  });
}

/* A map of a panel, layers down, pairs across. o: {title, rows, columns, value(l, p), colour(x), say(l, p, x), rests(p), readout}. Returns {panel,
 * draw()}; draw() after what value() gives has changed. */
function smallMap(o) {
  const holder = make('div', { class: 'map', tabindex: '0', role: 'application', 'aria-label': `${o.title}, layer by pair. Arrow keys move between cells.` });
  const canvas = make('canvas', { 'aria-hidden': 'true' }), box = make('div', null, holder), panel = make('div', { class: 'panel' }, make('h4', null, o.title), box);
  const state = {};
  const cursor = gridCursor({
    holder, canvas, geo: () => state.geo, outline: () => state.outline, columns: () => o.columns, hint: HINT, readout: o.readout,
    say: (l, p) => o.say(l, p, o.value(l, p)),
  });
  const draw = () => {
    const ch = o.rows <= 12 ? 16 : o.rows <= 40 ? 9 : 6, left = 26, cw = Math.min(22, (box.clientWidth - left - 4) / o.columns);
    const geo = (state.geo = { L: o.rows, F: o.columns, cw, ch, w: cw * o.columns, h: ch * o.rows, left, top: 1 });
    const size = { width: left + geo.w + 4, height: geo.h + 20 }, layer = cls => d3.create('svg').attr('width', size.width).attr('height', size.height).attr('aria-hidden', 'true').attr('class', cls);
    const svg = layer(null), over = layer('overlay'), g = svg.append('g').attr('transform', `translate(${left},1)`);
    const each = Math.ceil(14 / ch);
    for (let l = 0; l < o.rows; l += each) g.append('text').attr('x', -5).attr('y', ch * (l + 0.5)).attr('dy', '.35em').attr('text-anchor', 'end').text(l);
    const columns = [1, 2, 4, 8, 16, 32].find(s => s * cw >= 20) || 32;
    for (let p = 0; p < o.columns; p += columns) g.append('text').attr('x', cw * (p + 0.5)).attr('y', geo.h + 14).attr('text-anchor', 'middle').text(p);
    const marks = over.append('g').attr('transform', `translate(${left},1)`);
    marks.append('rect').attr('class', 'frame').attr('width', geo.w).attr('height', geo.h);
    for (let p = 1; p < o.columns; p++) if (o.rests(p) !== o.rests(p - 1)) for (const cls of ['mark halo', 'mark trained']) marks.append('line').attr('class', cls).attr('x1', p * cw).attr('x2', p * cw).attr('y2', geo.h);
    state.outline = cursorOutline(over.append('g'));
    paintGrid(canvas, geo, (l, p) => { const x = o.value(l, p); return Number.isFinite(x) ? o.colour(x) : emptyColour(); });
    holder.style.width = size.width + 'px';
    holder.replaceChildren(svg.node(), canvas, over.node());
    cursor.show();
  };
  onWidth(box, draw);
  return { panel, draw };
}

/* The bar of a colour scale with its ends named: {box, draw()}; of() gives {colour, lo, hi}. */
function rampLegend(words, format, of) {
  const box = make('div', { class: 'plot ramp' });
  const draw = () => {
    const { colour, lo, hi } = of(), w = 260, canvas = make('canvas', { width: w, height: 1 }), c = canvas.getContext('2d');
    for (let i = 0; i < w; i++) {
      c.fillStyle = colour(lo + ((hi - lo) * i) / (w - 1));
      c.fillRect(i, 0, 1, 1);
    }
    const svg = d3.create('svg').attr('width', w).attr('height', 32).attr('role', 'img').attr('aria-label', `${words}: colours from ${format(lo)} to ${format(hi)}`);
    svg.append('image').attr('href', canvas.toDataURL()).attr('width', w).attr('height', 10).attr('preserveAspectRatio', 'none');
    svg.append('rect').attr('class', 'frame').attr('width', w).attr('height', 10);
    [[lo, 0, 'start'], [hi, w, 'end']].forEach(([v, x, anchor]) => svg.append('text').attr('x', x).attr('y', 24).attr('text-anchor', anchor).text(format(v)));
    svg.append('text').attr('class', 'title').attr('x', w / 2).attr('y', 24).attr('text-anchor', 'middle').text(words);
    box.replaceChildren(svg.node());
  };
  onWidth(box, draw);
  return { box, draw };
}
