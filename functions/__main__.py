"""Starts one function: `python -m functions --target=… --source=…`, with functions-framework's own options.

What is imported stays, so to look for garbage in it only makes a start from zero longer, by a sixth: nobody looks until
all of it is there, and the process that serves is forked from this one, which then shares it untouched.
Source: https://docs.python.org/3/library/gc.html#gc.freeze
"""

import gc

gc.disable()

import os
import runpy

os.register_at_fork(before=gc.freeze, after_in_parent=gc.enable, after_in_child=gc.enable)
runpy.run_module("functions_framework", run_name="__main__")
