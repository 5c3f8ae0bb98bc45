/* Cells on a canvas, and a cursor among them that the pointer or the arrow keys move. */

/* geo: {L rows, F columns, cw, ch size of a cell, w, h of all, left, top inside the holder}; fill(l, p): colour, null = no cell. */
function paintGrid(canvas, geo, fill) {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(geo.w * dpr);
  canvas.height = Math.round(geo.h * dpr);
  Object.assign(canvas.style, { width: geo.w + 'px', height: geo.h + 'px', left: geo.left + 'px', top: geo.top + 'px' });
  const c = canvas.getContext('2d'), edge = (i, size) => Math.round(i * size * dpr);
  for (let l = 0; l < geo.L; l++) {
    for (let p = 0; p < geo.F; p++) {
      const colour = fill(l, p);
      if (colour === null) continue;
      c.fillStyle = colour;
      c.fillRect(edge(p, geo.cw), edge(l, geo.ch), edge(p + 1, geo.cw) - edge(p, geo.cw), edge(l + 1, geo.ch) - edge(l, geo.ch));
    }
  }
}

/* The outline of the cell under the cursor, light below dark, so that it is seen on every colour. */
function cursorOutline(g) {
  for (const [cls, width] of [['halo', 4], ['line', 2]]) g.append('rect').attr('class', 'cell-cursor ' + cls).attr('stroke-width', width).style('display', 'none');
  return g;
}

/* o: {holder, canvas, geo(), outline(), columns(l), say(l, p), hint, readout, open?()}. Returns {at: {l, p, on}, show()}; show() after
 * every drawing. */
function gridCursor(o) {
  const at = { l: 0, p: 0, on: false };
  const show = () => {
    const geo = o.geo();
    o.outline().selectAll('rect').style('display', at.on ? null : 'none')
      .attr('x', geo.left + at.p * geo.cw).attr('y', geo.top + at.l * geo.ch).attr('width', geo.cw).attr('height', geo.ch);
    o.readout.textContent = at.on ? o.say(at.l, at.p) : o.hint;
  };
  const move = (l, p) => {
    at.l = Math.max(0, Math.min(o.geo().L - 1, l));
    at.p = Math.max(0, Math.min(o.columns(at.l) - 1, p));
    at.on = true;
    show();
  };
  const leave = () => { at.on = false; show(); };
  const cellOf = event => {
    const box = o.canvas.getBoundingClientRect(), l = Math.floor((event.clientY - box.top) / o.geo().ch), p = Math.floor((event.clientX - box.left) / o.geo().cw);
    return l >= 0 && l < o.geo().L && p >= 0 && p < o.columns(l) ? [l, p] : null;
  };
  o.holder.addEventListener('pointermove', e => { const c = cellOf(e); if (c) move(...c); });
  o.holder.addEventListener('pointerleave', () => { if (document.activeElement !== o.holder) leave(); });
  o.holder.addEventListener('focus', () => { if (o.holder.matches(':focus-visible')) move(at.l, at.p); });
  if (o.open) o.holder.addEventListener('click', e => { const c = cellOf(e); if (c) { move(...c); o.open(); } });
  else o.holder.addEventListener('blur', leave);
  o.holder.addEventListener('keydown', e => {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    const { l, p } = at, to = { ArrowUp: [l - 1, p], ArrowDown: [l + 1, p], ArrowLeft: [l, p - 1], ArrowRight: [l, p + 1], Home: [l, 0], End: [l, o.columns(l) - 1] }[e.key];
    if (to) { e.preventDefault(); move(...(at.on ? to : [l, p])); }
    if (e.key === 'Enter' && at.on && o.open) { e.preventDefault(); o.open(); }
  });
  return { at, show };
}

/* A bar of colours with its numbers. o: {title, label, width, colour(t): t in 0..1, x: d3 scale onto 0..width, ticks, format}. Returns g
 * of an svg, into which marks may be drawn: its origin is the bar's upper left corner. */
function colourBar(o) {
  const w = o.width, h = 10, canvas = make('canvas', { width: w, height: 1, 'aria-hidden': 'true' }), c = canvas.getContext('2d');
  for (let i = 0; i < w; i++) {
    c.fillStyle = o.colour(i / (w - 1));
    c.fillRect(i, 0, 1, 1);
  }
  const room = Math.max(w + 60, 30 + 6.6 * o.title.length); /* the title may be wider than the bar */
  const svg = d3.create('svg').attr('width', room).attr('height', 46).attr('role', 'img').attr('aria-label', o.label);
  const g = svg.append('g').attr('transform', 'translate(24,16)');
  g.append('text').attr('class', 'title').attr('x', -2).attr('y', -5).text(o.title);
  g.append('image').attr('href', canvas.toDataURL()).attr('width', w).attr('height', h).attr('preserveAspectRatio', 'none');
  g.append('rect').attr('width', w).attr('height', h).attr('fill', 'none').attr('stroke', 'var(--line)');
  g.append('g').attr('class', 'axis').attr('transform', `translate(0,${h})`)
    .call(d3.axisBottom(o.x).tickValues(o.ticks).tickFormat(o.format).tickSize(3)).call(a => a.select('path').remove());
  return g;
}

/* A small map of values below and above a middle, with its own cursor, before the caption of f or at its end. o: {label, colours: title
 * of the colour bar, scale: d3 scale onto -1..1, ticks, format?, left: room for row names, rows, columns: their names, room: pixels of a
 * column's name, cell: {w, h: [least, most]}, height: most of all, value(l, p): NaN = no cell, mark?(l): place on the columns, say(l, p),
 * x, y: titles}. Returns stop. */
function smallMap(f, o) {
  const box = make('div', { class: 'plot', tabindex: '0', role: 'application', 'aria-label': o.label + '; arrow keys move' });
  const readout = make('output', { class: 'readout', 'aria-live': 'polite' }), caption = f.querySelector('figcaption');
  const canvas = make('canvas', { role: 'img', 'aria-label': o.label }), legend = make('div', { class: 'legend' });
  canvas.style.position = 'absolute';
  f.insertBefore(legend, caption);
  f.insertBefore(make('div', null, box, readout), caption);
  const L = o.rows.length, F = o.columns.length, within = ([least, most], x) => Math.max(least, Math.min(most, Math.floor(x)));
  const drawBar = width => {
    const w = Math.max(120, Math.min(220, width - 90)), x = o.scale.copy().range([0, w]), [lo, hi] = d3.extent(o.scale.domain()), format = o.format || num;
    legend.replaceChildren(colourBar({ title: o.colours, label: `colours from ${format(lo)} to ${format(hi)}`, width: w, colour: t => diverging(2 * t - 1), x, ticks: o.ticks, format }).node().ownerSVGElement);
  };
  let geo, outline;
  const cursor = gridCursor({ holder: box, canvas, geo: () => geo, outline: () => outline, columns: () => F, readout, hint: 'Point at a cell.', say: o.say });
  return onWidth(box, width => {
    const cw = within(o.cell.w, (width - o.left - 12) / F), ch = within(o.cell.h, o.height / L);
    geo = { L, F, cw, ch, w: cw * F, h: ch * L, left: o.left, top: 8 };
    drawBar(width);
    paintGrid(canvas, geo, (l, p) => (Number.isFinite(o.value(l, p)) ? diverging(o.scale(o.value(l, p))) : null));
    const svg = d3.create('svg').attr('width', o.left + geo.w + 12).attr('height', geo.h + 54), marks = d3.create('svg').attr('class', 'overlay').attr('width', o.left + geo.w + 12).attr('height', geo.h + 54);
    const g = svg.append('g').attr('class', 'axis').attr('transform', `translate(${o.left},${geo.top})`);
    const across = Math.ceil(o.room / cw), down = Math.ceil(11 / ch);
    o.columns.forEach((name, i) => { if (i % across === 0) g.append('text').attr('x', (i + 0.5) * cw).attr('y', geo.h + 14).attr('text-anchor', 'middle').text(name); });
    o.rows.forEach((name, i) => { if (i % down === 0) g.append('text').attr('x', -6).attr('y', (i + 0.5) * ch + 4).attr('text-anchor', 'end').text(name); });
    g.append('rect').attr('width', geo.w).attr('height', geo.h).attr('fill', 'none').attr('stroke', 'var(--line)');
    g.append('text').attr('class', 'title').attr('x', geo.w / 2).attr('y', geo.h + 34).attr('text-anchor', 'middle').text(o.x);
    g.append('text').attr('class', 'title').attr('transform', `translate(${12 - o.left},${geo.h / 2}) rotate(-90)`).attr('text-anchor', 'middle').text(o.y);
    for (let l = 0; o.mark && l < L; l++) {
      const at = o.mark(l);
      if (at >= 0 && at <= F) marks.append('line').attr('class', 'mark').attr('x1', o.left + at * cw).attr('x2', o.left + at * cw).attr('y1', geo.top + l * ch).attr('y2', geo.top + (l + 1) * ch);
    }
    outline = cursorOutline(marks.append('g'));
    box.replaceChildren(svg.node(), canvas, marks.node());
    cursor.show();
  });
}
