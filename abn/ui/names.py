"""What Gradio and plotly leave out for those who use a screen reader or the keyboard alone."""

from __future__ import annotations

import json

# By the plot's elem_id; a word in braces is looked up in the figure's layout.meta.
PLOTS = {
    "factor-heatmap": "Heatmap: the factor of every channel, a row a block. The sentences and tables below say "
    "it too; the fields Block and Channel open a cell.",
    "channel-sum": "Bars: what adds up to the factor of {block} channel {channel}. The sentence below says it too.",
    "gate-weights": "Dots: every block's gate weights, as distances from equal shares. The table below says it too.",
    "attribution-baseline": "{network}: picture, attribution map and overlay. The sentences below say it too.",
    "attribution-dmb": "{network}: picture, attribution map and overlay. The sentences below say it too.",
    "attribution-difference": "Map: {title}. The sentences and the table below say it too.",
    "responses": "Boxes: how both networks' responses spread in each block. The table below says it too.",
    "results-points": "Dots: every run's test accuracy after its last epoch, a row an arm. The tables say it too.",
    "results-contrasts": "Dots with intervals: ResNet-DMB minus each other arm. The table above says it too.",
    "results-curves": "Lines: every run's test accuracy after each epoch. The table below has the means.",
    "audit-variance": "Bars: each block's variance of factors between and within classes. The table says it too.",
    "audit-conditions": "Dots with intervals: what freezing the factors costs. The table below says it too.",
}

# Runs again after every change of the page: plots are built anew at each update. Only what differs is written.
NAMES = """() => {
  const plots = %s;
  const set = (element, values) => {
    for (const [name, value] of Object.entries(values))
      if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
  };
  const text = (element, selector) => element.querySelector(selector)?.textContent.trim() ?? '';
  const name = () => {
    for (const [id, words] of Object.entries(plots)) {
      const plot = document.querySelector(`#${id} .js-plotly-plot`);
      const label = words.replace(/{(\\w+)}/g, (_, key) => plot?.layout?.meta?.[key] ?? '');
      // The first drawing speaks for all; the bar of buttons above them keeps its own names.
      plot?.querySelectorAll('.main-svg').forEach((drawing, i) =>
        set(drawing, i ? {'aria-hidden': 'true'} : {role: 'img', 'aria-label': label}));
    }
    document.querySelectorAll('button.label-wrap').forEach(button =>
      set(button, {'aria-expanded': String(button.classList.contains('open'))}));
    document.querySelectorAll('fieldset').forEach(group =>
      set(group, {role: 'radiogroup', 'aria-label': text(group, '[data-testid=block-info]')}));
    document.querySelectorAll('[data-testid=label]').forEach(group =>
      set(group, {role: 'group', 'aria-label': text(group, '[data-testid=block-label]') + ': its highest classes'}));
    document.querySelectorAll('#examples .thumbnail-item').forEach((button, i, all) =>
      set(button, {'aria-label': `Example ${i + 1} of ${all.length}: ${button.querySelector('img')?.alt}`}));
    // What changes without being asked for where one is, told once it stands.
    for (const id of ['loading', 'failure', 'agreement', 'attribution-status', 'networks-status', 'copy-link'])
      set(document.getElementById(id), {'aria-live': 'polite'});
    document.querySelectorAll('input.search-input').forEach(field => set(field, {'aria-label': field.title}));
    // Gradio makes a button of every picture; these do nothing when they are pressed.
    document.querySelectorAll(':is(#sees, #used) .image-container button:has(img)').forEach(
      button => set(button, {tabindex: '-1'}));
    // Chromium stops at a list that scrolls, and loses its place when the list then closes.
    document.querySelectorAll('[role=listbox]').forEach(list => set(list, {tabindex: '-1'}));
  };
  // Gradio opens a list again after Tab has closed it, and it then covers what stands above it.
  window.addEventListener('keydown', event => {
    if (event.key === 'Tab' && event.target.matches?.('[role=combobox]')) event.stopPropagation();
  }, true);
  let waits = null;
  new MutationObserver(() => { waits ??= setTimeout(() => { waits = null; name(); }, 50); }).observe(
    document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ['class', 'alt']});
  name();
}""" % json.dumps(PLOTS)  # noqa: UP031  (braces are the script's own)
