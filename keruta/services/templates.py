"""Running a template: its parameters become a request, which is submitted like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keruta.domain.catalog import access
from keruta.domain.catalog.templates import TemplateRun, TemplateSpec, request_of_run
from keruta.domain.messages import kind_word, message
from keruta.domain.principal import Principal
from keruta.errors import Fault, Forbidden, InvalidRequest, NotFound, fault
from keruta.ports import Accepted, Intake, Lookup, SubmitTrace
from keruta.ports.catalog import Catalog
from keruta.services.submit import submit
from keruta.settings import Settings


def run_template(
    template: TemplateSpec, run: TemplateRun, who: Principal, *, lookup: Lookup, intake: Intake, tracing: SubmitTrace,
    settings: Settings, credentials: Catalog, key: str | None = None,
) -> Accepted:  # fmt: skip
    """Submit the task of a template.

    Args:
        credentials: where the names that secret parameters give are looked up.
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
    if refused := list(_refused(request.secrets, who, credentials)):
        raise InvalidRequest.of(refused)
    variables = {one.name: one.variable for one in template.parameters}
    secrets = {variables[name]: credential for name, credential in request.secrets.items()}
    return submit(
        request.task, who, lookup=lookup, intake=intake, tracing=tracing, settings=settings, key=key, secrets=secrets
    )


def _refused(secrets: Mapping[str, str], who: Principal, credentials: Catalog) -> Iterator[Fault]:
    """Yield a fault at each parameter that names a credential which is not there for them, or no secret for scripts.

    What they may not read, what they may not use and what is not there are told alike.
    """
    for parameter, name in secrets.items():
        at = f"/parameters/{parameter}"
        try:
            found = credentials.show(who, name)
        except NotFound:
            yield fault(at, message("template_secret_missing", name=name))
            continue
        if not access.may_use(found.access, who.names):
            yield fault(at, message("template_secret_missing", name=name))
        elif found.type != "secret":
            yield fault(at, message("template_secret_type", name=name))
