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
