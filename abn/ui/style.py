"""What the page needs of CSS and JavaScript, and why."""

from abn.ui.page.preview import TAKE_PICTURES

# plotly draws its own text colour; this makes it follow the theme, also when it is switched live.
# The hover label keeps its own: plotly picks it to contrast with the label's background.
CSS = """
.js-plotly-plot .main-svg text:not(.nums):not(.name) {fill: var(--body-text-color) !important}
.js-plotly-plot .hovertext text {fill: #fff !important}
#examples .grid-wrap {min-height: 0; max-height: none; padding: 0}
#examples .grid-container {grid-template-columns: repeat(5, minmax(0, 1fr)) !important; padding: 6px;
  grid-template-rows: none !important; grid-auto-rows: auto !important; height: auto !important}
#examples .gallery-item {height: auto}
#examples .thumbnail-lg {min-width: 0; width: 100%; height: auto; aspect-ratio: 1}
#examples .caption-label {display: none}
.pixelated img {image-rendering: pixelated}
.agreement {font-size: var(--text-lg)}
.notice {border-left: 4px solid #b45309; padding-left: .8em}
.notice .notice {border-left: 0; padding-left: 0}
.aside {color: var(--body-text-color-subdued)}
footer {display: none !important}

/* Where the keyboard is; Gradio takes the outline away from most of its controls. */
:is(button, a, input, textarea, summary, [tabindex]):focus-visible {
  outline: 3px solid var(--color-accent) !important; outline-offset: 1px !important}
:is([role=tab], [role=gridcell], [role=columnheader], [role=combobox], .thumbnail-item):focus-visible {
  outline-offset: -3px !important}
.js-plotly-plot .modebar:focus-within, .js-plotly-plot .modebar:focus-within .modebar-group {opacity: 1 !important}
.modebar-btn--logo {display: none !important}

/* A fast answer is not announced: only who waits longer is shown the place in the queue, or the share done. */
[data-testid=status-tracker]:not(.hide) {transition-delay: .6s}

/* On a narrow page long words and tables give way, not the page. */
.prose {overflow-wrap: break-word}
.label-wrap {text-align: left}
.prose table {display: block; overflow-x: auto}
.prose :is(pre, pre code) {white-space: pre-wrap !important; overflow-wrap: anywhere}
"""

# gr.Plot has no click event and rebuilds its div at every update: this listens on whichever is there and
# hands a cell's (block index, channel) to Gradio through a hidden gr.HTML.
HEATMAP_CLICKS = """
const hook = () => {
  const plot = document.querySelector('#factor-heatmap .js-plotly-plot');
  if (plot?.on && !plot.hooked) {
    plot.hooked = true;
    plot.on('plotly_click', event => {
      const cell = event.points[0]?.customdata;
      if (cell && cell[1] >= 0) trigger('select', {index: [Number(cell[0]), Number(cell[1])], value: ''});
    });
  }
};
new MutationObserver(hook).observe(document.body, {childList: true, subtree: true});
hook();
"""

# With <base href> in the page, plotly writes the whole address into every reference to a gradient or clip path, and a
# colour bar loses its colours as soon as a setting changes the address. "./", Gradio's base, is the default anyway.
_BASE = "document.querySelector('base')?.removeAttribute('href');"

# Whenever an upload's progress ends, Gradio's client closes a stream that has no closing, and warns of that: nothing
# that whoever reads the console could mend, or has to know.
_QUIET = """
const warn = console.warn.bind(console);
console.warn = (...said) => { if (said[0] !== 'Method not implemented.') warn(...said); };
"""

HEAD = f"<script>{_BASE}{_QUIET}{TAKE_PICTURES}</script>"

# A plot that was redrawn while its tab was hidden, or while the window changed, has the wrong width.
FIT_PLOTS = "() => { setTimeout(() => window.dispatchEvent(new Event('resize')), 60); }"
