/* Colours of cells. */

/* Lightness falls (on paper) or rises (in the dark) evenly from the background; blind to red against green. */
const ramps = {
  light: d3.interpolateRgbBasis(['#ffffff', '#dceff0', '#a6d8d4', '#62b3c0', '#2f83b3', '#2a4f95', '#241d5c']),
  dark: d3.interpolateRgbBasis(['#16181b', '#1d2b4d', '#23508a', '#2a7fab', '#4fb0b3', '#a9dcb2', '#fbfbd0']),
};
const ramp = t => ramps[isDark() ? 'dark' : 'light'](Math.max(0, Math.min(1, t)));
const emptyColour = () => (isDark() ? '#3a3236' : '#efe7e2');

/* Below and above zero: blue and orange, which the colour-blind tell apart; zero is the background. x in -1..1. */
const below = {
  light: d3.interpolateRgbBasis(['#ffffff', '#cfe0f0', '#8db8dc', '#4385be', '#1b4f8a', '#0b2a52']),
  dark: d3.interpolateRgbBasis(['#16181b', '#1c3046', '#24527e', '#3a83c0', '#7ab8ea', '#cfe8fb']),
};
const above = {
  light: d3.interpolateRgbBasis(['#ffffff', '#f9dfc7', '#f0b27d', '#dd7b33', '#a94f10', '#5e2a05']),
  dark: d3.interpolateRgbBasis(['#16181b', '#40291a', '#7a4517', '#c2701f', '#f0a35a', '#fbe0c2']),
};
const diverging = x => (x < 0 ? below : above)[isDark() ? 'dark' : 'light'](Math.min(1, Math.abs(x)));
