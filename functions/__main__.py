"""Starts one function: `python -m functions --target=… --source=…`, with functions-framework's own options.

What is imported stays, so to look for garbage in it only makes a start from zero longer, by a sixth: nobody looks until
all of it is there, and the process that serves is forked from this one, which then shares it untouched.
Source: https://docs.python.org/3/library/gc.html#gc.freeze

Its threads are `keruta.http.serving`'s: no client holds them by sending or taking slowly.
"""

import gc

gc.disable()

import functools
import os
import runpy
import sys

from functions_framework._http import gunicorn as framework  # imported by the framework, too

os.register_at_fork(before=gc.freeze, after_in_parent=gc.enable, after_in_child=gc.enable)
takes_files = any("report_status" in argument for argument in sys.argv)
framework.GunicornApplication = functools.partial(  # type: ignore[assignment,misc]
    framework.GunicornApplication,
    worker_class=f"keruta.http.serving.{'UploadWorker' if takes_files else 'Worker'}",
    control_socket_disable=True,  # it would be a file in the user's home, of all functions together
)
runpy.run_module("functions_framework", run_name="__main__")
