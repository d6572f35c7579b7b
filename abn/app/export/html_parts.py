"""The standing parts of an exported page: its style, its script, and plotly.js, packed."""

from __future__ import annotations

import base64
import gzip
from functools import lru_cache

from plotly.offline import get_plotlyjs

# No request to any host, whatever a name in the file may contain.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)

STYLE = """
:root {color-scheme: light dark; --ground: #fff; --ink: #1f2328; --faint: #57606a; --line: #d0d7de; --bar: #dbe4f0}
@media (prefers-color-scheme: dark) {
  :root {--ground: #0d1117; --ink: #e6edf3; --faint: #9da7b3; --line: #30363d; --bar: #22364f}
}
body {margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif}
main {max-width: 1200px; margin: 0 auto; padding: 16px}
h1 {font-size: 1.6rem; line-height: 1.25; margin: .2em 0 .4em; overflow-wrap: anywhere}
h2 {font-size: 1.25rem; margin: 2em 0 .3em; border-top: 1px solid var(--line); padding-top: .8em}
h3 {font-size: 1rem; margin: .8em 0 .3em}
p {margin: .4em 0; max-width: 75ch}
.aside {color: var(--faint)}
.two {display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 8px 32px}
.picture {display: grid; grid-template-columns: 192px 1fr; gap: 8px 32px}
@media (max-width: 640px) {.picture {grid-template-columns: 1fr}}
.picture > *, .two > * {min-width: 0}
img.pixels {width: 192px; height: 192px; image-rendering: pixelated; border: 1px solid var(--line)}
.scroll {overflow-x: auto}
table {border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%}
th, td {text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid var(--line); vertical-align: top}
td.number, th.number {text-align: right; white-space: nowrap}
td.break {overflow-wrap: anywhere}
.share {width: 80%; background: linear-gradient(var(--bar), var(--bar)) no-repeat left / var(--width) 100%}
figure {margin: 0}
noscript p, .problem {border-left: 4px solid #b45309; padding-left: .8em}
.js-plotly-plot .main-svg text:not(.nums):not(.name) {fill: var(--ink) !important}
.js-plotly-plot .hovertext text {fill: #fff !important}
"""

# A third of plotly.js's size: it is unpacked by the browser itself, from this file.
SCRIPT = """
(async () => {
  const read = id => document.getElementById(id).textContent;
  try {
    const packed = Uint8Array.from(atob(read('plotly')), character => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    for (const [id, figure] of Object.entries(JSON.parse(read('figures')))) {
      const place = document.getElementById(id);
      await Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false});
      // The first drawing speaks for all; the bar of buttons beside them keeps its own names.
      const name = place.getAttribute('aria-label');
      place.querySelectorAll('.main-svg').forEach((drawing, i) => {
        const said = i ? {'aria-hidden': 'true'} : {role: 'img', 'aria-label': name};
        for (const [attribute, value] of Object.entries(said)) drawing.setAttribute(attribute, value);
      });
      place.removeAttribute('role');
      place.removeAttribute('aria-label');
    }
    document.documentElement.dataset.drawn = 'yes';
  } catch (error) {
    const note = document.getElementById('undrawn');
    note.textContent = `The figures could not be drawn (${error.message}); a browser of 2023 or later draws them.`;
    note.hidden = false;
  }
})();
"""


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """plotly.js, gzipped, in base64."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
