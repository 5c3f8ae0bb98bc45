/* Pictures with one row per variant: dots, stacked bars, small maps. */

const real = x => (x === null || x === undefined ? NaN : x);
const variants = run.variants.map((v, i) => ({
  ...v, i, colour: `var(--variant-${(i % 8) + 1})`, dash: i % 2 === 1, shown: v.runs.map(r => run.runs[r]), compared: v.n_compared > 0,
}));
const first = variants[0];
const quantityOf = key => run.quantities.find(q => q.key === key);
const HINT = 'Point at the picture, or focus it and use the arrow keys.';

/* Room for the labels of rows, in pixels: the longest of them, within reason. */
function labelRoom(names, width) {
  const longest = d3.max(names, s => s.length) || 0;
  return Math.min(Math.round(longest * 6.4) + 12, Math.max(70, width * 0.42));
}

/* Cut to the room there is; the whole name is in the title. */
function rowLabel(g, name, x, y, room) {
  const most = Math.max(4, Math.floor((room - 10) / 6.4));
  g.append('text').attr('class', 'title').attr('x', x).attr('y', y).attr('dy', '.35em').attr('text-anchor', 'end')
    .text(name.length > most ? name.slice(0, most - 1) + '…' : name).append('title').text(name);
}

/* o: {rows: [{name, colour, marks: [{x, open}], mean, lo, hi}], x: {domain, label, format}, numbers?(), label, title?, least?: height of all rows}
 * One row of marks per variant. */
function rowPlot(figure, o) {
  const before = figure.querySelector('figcaption'), box = make('div', { class: 'plot' });
  figure.insertBefore(o.title ? make('h4', null, o.title) : legendOf([]), before);
  figure.insertBefore(box, before);
  onWidth(box, width => {
    const left = labelRoom(o.rows.map(r => r.name), width), row = Math.max(30, Math.min(56, (o.least || 0) / o.rows.length)), m = { top: 8, right: 14, bottom: 40 }, w = width - left - m.right, h = row * o.rows.length;
    const x = d3.scaleLinear().domain(o.x.domain).range([0, w]), at = i => row * (i + 0.5);
    const svg = d3.create('svg').attr('width', width).attr('height', m.top + h + m.bottom).attr('role', 'img').attr('aria-label', o.label);
    const g = svg.append('g').attr('transform', `translate(${left},${m.top})`);
    const ticks = x.ticks(Math.max(2, Math.floor(w / 60)));
    g.append('g').attr('class', 'grid').selectAll('line').data(ticks).join('line').attr('x1', x).attr('x2', x).attr('y2', h);
    g.append('g').attr('class', 'axis').attr('transform', `translate(0,${h})`).call(d3.axisBottom(x).tickValues(ticks).tickFormat(o.x.format || num).tickSize(4));
    g.append('text').attr('class', 'title').attr('x', w / 2).attr('y', h + 33).attr('text-anchor', 'middle').text(o.x.label);
    o.rows.forEach((r, i) => {
      const s = g.append('g').style('--c', r.colour);
      rowLabel(g, r.name, -8, at(i), left);
      if (Number.isFinite(r.lo)) s.append('line').attr('class', 'err').attr('x1', x(Math.max(r.lo, o.x.domain[0]))).attr('x2', x(Math.min(r.hi, o.x.domain[1]))).attr('y1', at(i)).attr('y2', at(i));
      s.selectAll('circle').data(r.marks.filter(d => Number.isFinite(d.x))).join('circle').attr('class', d => (d.open ? 'ring' : 'dot')).attr('r', o.r || 4)
        .attr('cx', d => x(d.x)).attr('cy', (d, k) => at(i) + (o.jitter ? ((k * 7) % 11 - 5) * 1.7 : 0));
      if (Number.isFinite(r.mean)) s.append('line').attr('class', 'mean').attr('x1', x(r.mean)).attr('x2', x(r.mean)).attr('y1', at(i) - 11).attr('y2', at(i) + 11);
    });
    box.replaceChildren(svg.node());
  });
  if (o.numbers) addTools(figure, o.numbers);
}

/* o: {rows: [{name, parts: [{share, colour, words}]}], legend, numbers(), label}: stacked bars to 100%. */
function barPlot(figure, o) {
  const before = figure.querySelector('figcaption'), box = make('div', { class: 'plot' }), readout = make('output', { class: 'readout', 'aria-live': 'polite' });
  figure.insertBefore(legendOf(o.legend), before);
  figure.insertBefore(make('div', null, box, readout), before);
  onWidth(box, width => {
    const left = labelRoom(o.rows.map(r => r.name), width), row = Math.max(20, Math.min(44, 200 / o.rows.length)), m = { top: 4, right: 14, bottom: 36 }, w = width - left - m.right;
    let y = m.top;
    const tops = o.rows.map((r, i) => { if (i > 0 && r.name) y += 8; const t = y; y += row; return t; });
    const x = d3.scaleLinear().domain([0, 1]).range([0, w]);
    const svg = d3.create('svg').attr('width', width).attr('height', y + m.bottom).attr('role', 'img').attr('aria-label', o.label);
    const g = svg.append('g').attr('transform', `translate(${left},0)`);
    o.rows.forEach((r, i) => {
      let from = 0;
      if (r.name) rowLabel(g, r.name, -8, tops[i] + row / 2 - 1, left);
      for (const p of r.parts) {
        const bar = g.append('g').style('--c', p.colour).append('rect').attr('class', 'bar edged').attr('x', x(from)).attr('width', x(p.share)).attr('y', tops[i]).attr('height', row - 3);
        bar.on('pointerenter', () => { readout.textContent = p.words; }).on('pointerleave', () => { readout.textContent = o.hint; });
        bar.append('title').text(p.words);
        from += p.share;
      }
    });
    g.append('g').attr('class', 'axis').attr('transform', `translate(0,${y})`).call(d3.axisBottom(x).ticks(Math.max(2, w / 60)).tickFormat(d3.format('.0%')).tickSize(4));
    g.append('text').attr('class', 'title').attr('x', w / 2).attr('y', y + 32).attr('text-anchor', 'middle').text('share of the heads');
    box.replaceChildren(svg.node());
  });
  readout.textContent = o.hint;
  addTools(figure, o.numbers);
}

/* A small map, layers down, pairs across. o: {title, note, rows, columns, value(l, p), colour(x), say(l, p), readout, rests(p)} */
function smallMap(o) {
  const box = make('div', { class: 'plot' }), panel = make('div', { class: 'panel' }, make('h4', null, o.title), box, make('p', { class: 'panel-note' }, o.note || ''));
  onWidth(box, width => {
    const left = 26, bottom = 18, cw = Math.min(22, (width - left - 4) / o.columns), ch = o.rows <= 12 ? 16 : o.rows <= 40 ? 9 : 6;
    const svg = d3.create('svg').attr('width', width).attr('height', ch * o.rows + bottom + 2).attr('role', 'img').attr('aria-label', o.title);
    const g = svg.append('g').attr('transform', `translate(${left},1)`);
    const each = Math.ceil(o.rows / Math.max(1, Math.floor(o.rows * ch / 26)));
    for (let l = 0; l < o.rows; l++) {
      if (l % each === 0) g.append('text').attr('x', -5).attr('y', ch * (l + 0.5)).attr('dy', '.35em').attr('text-anchor', 'end').text(l);
      for (let p = 0; p < o.columns; p++) {
        const x = o.value(l, p);
        g.append('rect').attr('x', cw * p).attr('y', ch * l).attr('width', cw + 0.3).attr('height', ch + 0.3).attr('fill', Number.isFinite(x) ? o.colour(x) : emptyColour())
          .on('pointerenter', () => { o.readout.textContent = o.say(l, p, x); });
      }
    }
    g.append('rect').attr('class', 'frame').attr('width', cw * o.columns).attr('height', ch * o.rows);
    for (const p of pairTicks(o.columns)) g.append('text').attr('x', cw * (p + 0.5)).attr('y', ch * o.rows + 13).attr('text-anchor', 'middle').text(p);
    box.replaceChildren(svg.node());
  });
  return panel;
}

/* A ramp with its ends named. */
function rampLegend(colour, lo, hi, words, format) {
  const box = make('div', { class: 'plot ramp' });
  onWidth(box, () => {
    const svg = d3.create('svg').attr('width', 260).attr('height', 32).attr('role', 'img').attr('aria-label', words), n = 60;
    for (let i = 0; i < n; i++) svg.append('rect').attr('x', (i * 260) / n).attr('width', 260 / n + 0.5).attr('height', 10).attr('fill', colour(lo + ((hi - lo) * (i + 0.5)) / n));
    [[lo, 0, 'start'], [hi, 260, 'end']].forEach(([v, x, anchor]) => svg.append('text').attr('x', x).attr('y', 24).attr('text-anchor', anchor).text(format(v)));
    svg.append('text').attr('class', 'title').attr('x', 130).attr('y', 24).attr('text-anchor', 'middle').text(words);
    box.replaceChildren(svg.node());
  });
  return box;
}
