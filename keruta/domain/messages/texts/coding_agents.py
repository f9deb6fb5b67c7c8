"""Coding agents: how they ended, and what their model's server answered."""

from __future__ import annotations

TEXTS = {
    "model_key_accepted": "{server} takes the key; it offers {count} {count:model|models}.",
    "model_key_limited": "{server} takes the key, and accepts no more requests for now.",
    "model_key_refused": "{server} refuses the key (status {status}); save one that is valid.",
    "model_key_fault": "{server} answered with status {status}, so nothing is known of the key; look at the address.",
    "model_key_unreadable": "{server} answered with something that is no list of models; look at the address.",
    "model_key_unused": "No profile with a coding agent names {name} as its model's key, so there is no server to ask.",
    "agent_no_end": (
        "The coding agent ended without its last record, so how far it came is not known; its output is in the log."
    ),
    "agent_gave_up": "The coding agent gave up: {said}",
    "agent_truncated": "The coding agent's last answer was cut off or refused by the model: {said}",
    "agent_tools_refused": (
        "The coding agent was not allowed to use these tools: {tools}. Allow them in the profile's permissions, "
        "or ask for less."
    ),
    "agent_asks": "The coding agent ended with a question: {question}",
    "agent_asked_no_model": (
        "The coding agent never asked its model, so what it says of its work can't be trusted; its output is in "
        "the log."
    ),
    "agent_limit_reached": "The coding agent reached the profile's limit of turns or cost: {said}",
    "agent_turns_used_up": "The coding agent has used the {limit} turns that its profile allows.",
    "agent_tokens_used_up": "The coding agent has used the {limit} tokens that its profile allows.",
    "agent_cost_used_up": "The coding agent has used the {limit} US dollars that its profile allows.",
    "agent_changed_nothing": "The coding agent ended well and changed nothing, and its profile takes that as a failure.",
    "agent_stopped_for_model": "The attempt was ended because of its model: its key, its limits or its budget.",
    "model_unauthorized": "The model's server refused the key: {said}. Give the credential a valid key.",
    "model_rate_limited": "The model's server accepts no more requests for now: {said}",
    "model_rate_limited_until": "The model's server accepts no more requests for {seconds} s: {said}",
    "model_overloaded": "The model's server is overloaded or failing: {said}",
    "model_away": "The model's server could not be reached: {error}.",
    "model_broke_off": "The model's server broke off its answer.",
    "model_no_credit": "The model's server says that the account has no credit left: {said}",
    "model_path_not_served": "Only requests to a model are passed on here.",
    "model_no_web_socket": "There is no WebSocket here; ask by HTTP.",
    "model_request_too_large": "The request is larger than keruta passes on.",
    "tools_post_only": "Send a request of JSON-RPC by POST; there is no stream of the server's own here.",
    "tools_other_host": "Only programs of the attempt itself are answered here.",
    "tools_no_such_path": "The tools are at another path.",
    "tools_no_question": "There is no question. Say in plain text what the person is to decide.",
    "tools_question_too_long": "The question is longer than {limit} bytes. Ask more briefly.",
    "tools_too_many_questions": "You have asked {limit} questions, and no more are passed on. Decide yourself, or end.",
    "tools_withdrawn": "The attempt ended before anybody answered.",
    "tools_too_much_progress": "You have told {limit} times how far you are; no more is shown.",
    "tools_no_such_file": "There is no such file in the workspace. Links are not followed, and nothing outside it is kept.",
    "tools_file_too_large": "The file is larger than {limit} MiB.",
    "tools_too_many_files": "You have attached {limit} files, and no more are kept.",
    "tools_no_room": "The file could not be kept: the disk has no room.",
    "tools_no_such_document": "The task has no such document. It has: {names}",
    "model_wrong_token": "This is not the attempt's own token.",
    "reason_model_unauthorized": "The model's key was refused",
    "reason_model_rate_limited": "The model's limit is reached",
    "reason_model_overloaded": "The model's server is overloaded",
    "reason_budget_exceeded": "The budget is used up",
    "reason_agent_gave_up": "The coding agent gave up",
    "reason_nothing_changed": "Nothing changed",
    "continue_not_ended": "The task is {status}; wait for its end, or send it a line.",
    "continue_no_prompt": "The task ran no coding agent, so there is nothing to go on from; submit another.",
    "continue_not_yours": "Only who may run this task again can go on from it.",
    "continue_empty": "Say what the coding agent is to do next.",
    "credential_not_for_model": (
        "The credential {name} holds no model's key: one of the type secret is needed for that."
    ),
    "field_needs_coding_agent": "This is for a coding agent: set coding_agent to claude-code, codex or aider.",
    "field_permissions_list": "A list of tools is for claude-code alone; use full or edit.",
    "field_mcp_aider": "Aider uses no MCP servers.",
    "field_mcp_command_or_url": "Give a command or an address, and not both.",
    "field_mcp_env_of_command": "Variables are for a command; an address takes a bearer token.",
    "field_mcp_bearer_of_url": "A bearer token is for an address; a command takes variables.",
    "field_mcp_secret": "The profile has no secret in the variable {name}.",
    "field_command_needed": "The command line of the coding agent is needed here.",
    "field_agent_or_command": "A coding agent that keruta knows has no command line of its own: leave one of the two out.",
}
