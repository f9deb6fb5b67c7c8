"""Texts about templates and the values of their parameters."""

from __future__ import annotations

TEXTS = {
    "template_boolean": "Write true or false.",
    "template_choice": "This is none of the choices: {known}",
    "template_choices": "A parameter of the type choice has choices, and no other has any.",
    "template_no_parameter": "The template has no such parameter; it has: {known}",
    "template_number": "This is not a number; write it as 12 or -0.5.",
    "template_parameter_twice": "There are two parameters named {name}.",
    "template_ref_type": "The parameter ref chooses what is checked out, so its type is ref.",
    "template_secret_missing": "There is no credential {name} that you may use. Choose one of those in the list, or ask for the right on it.",
    "template_secret_type": "The credential {name} is not of the type secret value for scripts.",
    "template_text": "This must be a text.",
    "template_text_limit": "A value has at most {limit} characters, and no null character.",
}
