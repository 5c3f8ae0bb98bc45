/* How fast the norm of a pair changes along the text: power by period over that of white noise, queries beside keys. */

function spectrumPanel(box, rope, side, top) {
  const a = array('spectrum/' + side), axis = array('axis/period'), r = run.ropes[rope], n = axis.dims[0];
  const at = (p, b) => cell(a, rope, p, b), ends = b => ({ longest: cell(axis, b, 0), shortest: cell(axis, b, 1) });
  const words = b => (ends(b).longest === ends(b).shortest ? `period ${num(ends(b).longest)}` : `periods ${num(ends(b).shortest)}–${num(ends(b).longest)}`) + ' tokens';
  /* Where a period lies among the columns, which are even in its logarithm but for the shortest. */
  const place = period => {
    for (let b = 0; b < n; b++) {
      const lo = ends(b).shortest, hi = b + 1 < n ? ends(b + 1).shortest : ends(b).longest * 1.4;
      if (period >= lo && period < hi) return b + Math.log(period / lo) / Math.log(hi / lo);
    }
    return NaN;
  };
  box.append(make('h4', null, side === 'q' ? 'Queries' : 'Keys'));
  return smallMap(box, {
    label: `Power of the norm of ${side === 'q' ? 'queries' : 'keys'} by pair and period`, colours: 'times white noise', scale: d3.scaleLog().domain([1 / top, top]).range([-1, 1]),
    ticks: [1 / top, 1, top], left: 46, rows: d3.range(r.pairs).map(String), columns: d3.range(n).map(b => short2(ends(b).shortest)), room: 30, cell: { w: [8, 26], h: [5, 14] }, height: 330,
    value: at, mark: p => (r.wavelength[p] ? place(r.wavelength[p]) : NaN), say: (p, b) => `pair ${p}, ${r.wavelength[p] ? `wavelength ${num(r.wavelength[p])}` : 'not rotated'}, ${words(b)}: ${num(at(p, b))} times white noise`,
    x: 'period in tokens, from', y: 'pair',
  });
}

function spectrumPicture(figure) {
  const sides = ['q', 'k'].filter(s => array('spectrum/' + s)), axis = array('axis/period');
  if (sides.length === 0 || !axis) return;
  byRope(figure, rope => {
    const all = sides.flatMap(s => Array.from(array('spectrum/' + s).data)).filter(x => x > 0), top = Math.max(2, 2 ** Math.ceil(Math.log2(Math.max(d3.max(all), 1 / d3.min(all)))));
    const panels = make('div', { class: 'panels even' });
    figure.insertBefore(panels, figure.querySelector('figcaption'));
    const stops = sides.map(s => { const box = make('div'); panels.append(box); return spectrumPanel(box, rope, s, top); });
    addTools(figure, () => ({
      columns: ['pair', 'wavelength', ...sides.flatMap(s => d3.range(axis.dims[0]).map(b => `${s === 'q' ? 'query' : 'key'}, from period ${num(cell(axis, b, 1))}`))],
      rows: d3.range(run.ropes[rope].pairs).map(p => [String(p), run.ropes[rope].wavelength[p], ...sides.flatMap(s => d3.range(axis.dims[0]).map(b => cell(array('spectrum/' + s), rope, p, b)))]),
    }));
    return { stop: () => stops.forEach(stop => stop()) };
  });
}
