"""Gradio's default theme, with text, controls and focus dark or light enough to be seen (WCAG 2.2, level AA)."""

from __future__ import annotations

import gradio as gr

# The system's own fonts: nothing to load, and every weight is there.
THEME = gr.themes.Default(
    font=["ui-sans-serif", "system-ui", "sans-serif"], font_mono=["ui-monospace", "Consolas", "monospace"]
).set(
    # 1.9 : 1 on white as Gradio has it; 4.5 : 1 is asked of text.
    body_text_color_subdued="*neutral_600",
    block_label_text_color="*neutral_600",
    block_title_text_color="*neutral_600",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    link_text_color_visited="*secondary_600",
    link_text_color_visited_dark="*secondary_400",
    # White on it, and it on white: 5.2 : 1 in place of 2.8.
    color_accent="*primary_700",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
    # Controls: 3 : 1 against what they stand on, and of the mark in them.
    checkbox_background_color_selected_dark="*primary_600",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_500",
    checkbox_border_color_selected_dark="*primary_600",
    slider_color_dark="*primary_600",
    input_border_color_focus="*secondary_600",
    input_border_color_focus_dark="*secondary_400",
)
# `set` knows no dark accent, but the stylesheet takes one from any attribute so named.
THEME.color_accent_dark = "*primary_400"
