# An image for each coding agent: the program at the version that keruta is tested with, Git, and what its tools and most scripts
# call. Targets: claude-code, codex, aider. NODE and PYTHON name the bases; a team's own image begins with one of these, or copies
# /opt/coding-agent out of one.
ARG NODE=node:22-slim
ARG PYTHON=python:3.11-slim
FROM ${NODE} AS npm
RUN command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends npm; }
COPY agent/coding_agents/versions.env /

# Both programs of npm are single files for one machine each, which their packages bring as optional ones; npm's own start-up
# script is not needed.
FROM npm AS fetched-claude-code
RUN . /versions.env && npm install --prefix /fetched --no-audit --no-fund --ignore-scripts "@anthropic-ai/claude-code@$CLAUDE_CODE_VERSION" \
  && mkdir -p /opt/coding-agent/bin \
  && find /fetched/node_modules/@anthropic-ai/claude-code-linux-* -name claude -type f -not -path '*musl*' -exec cp {} /opt/coding-agent/bin/ \; \
  && /opt/coding-agent/bin/claude --version && rm -rf /fetched

FROM npm AS fetched-codex
RUN . /versions.env && npm install --prefix /fetched --no-audit --no-fund --ignore-scripts "@openai/codex@$CODEX_VERSION" \
  && mkdir -p /opt/coding-agent/bin \
  && find /fetched/node_modules/@openai -path '*/vendor/*' -name codex -type f -exec cp {} /opt/coding-agent/bin/ \; \
  && /opt/coding-agent/bin/codex --version && rm -rf /fetched

FROM ${PYTHON} AS fetched-aider
COPY knative/aider.lock /
RUN python -m venv /opt/coding-agent \
  && /opt/coding-agent/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes -r /aider.lock \
  && /opt/coding-agent/bin/aider --version

FROM ${NODE} AS node-tools
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends curl git jq make openssh-client patch procps python3 ripgrep unzip \
  && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig /var/cache/debconf /var/cache/apt/*.bin

FROM ${PYTHON} AS python-tools
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends curl git jq make openssh-client patch procps ripgrep unzip \
  && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig /var/cache/debconf /var/cache/apt/*.bin

FROM node-tools AS claude-code
COPY --from=fetched-claude-code /opt/coding-agent/bin/claude /usr/local/bin/
USER 10002

FROM node-tools AS codex
COPY --from=fetched-codex /opt/coding-agent/bin/codex /usr/local/bin/
USER 10002

FROM python-tools AS aider
COPY --from=fetched-aider /opt/coding-agent /opt/coding-agent
RUN ln -s /opt/coding-agent/bin/aider /usr/local/bin/aider
USER 10002
