"""The English text of each code, and the codes' names.

A code begins with its subject and never changes its meaning once released; its wording may change. `{name}` is replaced
by the argument of that name.
"""

from __future__ import annotations

from keruta.domain.messages.texts import (
    attempts,
    audit,
    catalog,
    cluster,
    coding_agents,
    connections,
    fields,
    git,
    http,
    mails,
    permissions,
    tasks,
    templates,
    triggers,
    words,
)

CATALOGUE: dict[str, str] = {
    **words.TEXTS,
    **tasks.TEXTS,
    **templates.TEXTS,
    **triggers.TEXTS,
    **attempts.TEXTS,
    **git.TEXTS,
    **cluster.TEXTS,
    **catalog.TEXTS,
    **coding_agents.TEXTS,
    **connections.TEXTS,
    **fields.TEXTS,
    **http.TEXTS,
    **mails.TEXTS,
    **permissions.TEXTS,
    **audit.TEXTS,
}
