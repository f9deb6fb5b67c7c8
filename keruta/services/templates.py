"""Running a template: its parameters become a request, which is submitted like any other."""

from __future__ import annotations

from keruta.domain.catalog import access
from keruta.domain.catalog.templates import TemplateRun, TemplateSpec, request_of_run
from keruta.domain.messages import kind_word, message
from keruta.domain.principal import Principal
from keruta.errors import Forbidden, InvalidRequest
from keruta.ports import Accepted, Intake, Lookup, SubmitTrace
from keruta.services.submit import submit
from keruta.settings import Settings


def run_template(
    template: TemplateSpec, run: TemplateRun, who: Principal, *, lookup: Lookup, intake: Intake, tracing: SubmitTrace,
    settings: Settings, key: str | None = None,
) -> Accepted:  # fmt: skip
    """Submit the task of a template.

    Args:
        key: of one run; the same again gives the task of the first.

    Raises:
        Forbidden: the template, its repository or its queue is not theirs to run.
        InvalidRequest: a value is wrong, or what the template names is missing.
    """
    if not access.may_run(template.access, who.names):
        raise Forbidden(
            message("submission_not_permitted", kind=kind_word("template"), name=template.name), reason="GrantMissing"
        )
    request, faults = request_of_run(template, run)
    if request is None:
        raise InvalidRequest.of(faults)
    return submit(request, who, lookup=lookup, intake=intake, tracing=tracing, settings=settings, key=key)
