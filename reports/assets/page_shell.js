/* What every page does as a whole: theme, keys, print. */

/* Things that Esc closes, tried in order; each says whether it was open. */
const closers = [];

function setTheme() {
  const button = document.getElementById('theme'), say = () => { button.textContent = isDark() ? 'Light' : 'Dark'; button.setAttribute('aria-label', `Switch to ${isDark() ? 'light' : 'dark'} colours`); };
  button.hidden = false;
  button.addEventListener('click', () => {
    document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
    say();
    redrawAll();
  });
  scheme.addEventListener('change', () => { say(); redrawAll(); });
  say();
}

/* more(key): keys of this page. */
function setKeys(more) {
  const help = document.getElementById('help'), button = document.getElementById('keys');
  button.hidden = false;
  button.addEventListener('click', () => help.showModal());
  document.getElementById('help-close').addEventListener('click', () => help.close());
  document.addEventListener('keydown', e => {
    if (e.altKey || e.ctrlKey || e.metaKey || help.open) return;
    const typing = e.target.closest('input[type="text"], select, textarea');
    if (e.key === 'Escape') {
      if (closers.some(close => close())) e.preventDefault();
    } else if (typing) {
      return;
    } else if (e.key === '?') {
      help.showModal();
    } else if (more) {
      more(e.key);
    }
  });
}

function setPrint() {
  addEventListener('beforeprint', () => { view.printing = true; document.querySelectorAll('details').forEach(d => { d.open = true; }); redrawAll(); });
  addEventListener('afterprint', () => { view.printing = false; redrawAll(); });
}
