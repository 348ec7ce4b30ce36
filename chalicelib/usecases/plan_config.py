"""``POST /config/plan``: what would change, with everything that is wrong. Nothing is stored."""

from __future__ import annotations

from chalicelib.contracts.api import ConfigFiles, ConfigPlan
from chalicelib.contracts.faults import Fault
from chalicelib.domain import keeping, plan
from chalicelib.domain.enforcement import Announced
from chalicelib.domain.plan import Draft
from chalicelib.ports import Ports


class Refused(Fault):
    """A configuration with problems; all of them travel with the fault."""

    def __init__(self, code: str, draft: Draft) -> None:
        count = len(draft.problems)
        super().__init__(code, f"The configuration has {count} problem{'s' if count > 1 else ''}; nothing was changed.")
        self.problems = draft.problems


def plan_config(ports: Ports, asked: ConfigFiles) -> ConfigPlan:
    """Return the plan; its ``version`` is the one in force. Raises Refused: config_invalid, config_unenforceable."""
    now = ports.policies.current().document
    draft = checked_draft(ports, asked.files, now.version + 1)
    return ConfigPlan(
        version=now.version, changes=plan.changes(now, draft.document, ports.settings.keeping), warnings=draft.warnings
    )


def checked_draft(ports: Ports, files: dict[str, str], version: int) -> Draft:
    """Return a draft without problems, or raise Refused. Also raises Fault(too_large)."""
    announced = {agent.name: Announced(agent.protocols, agent.credentials) for agent in ports.store.agents()}
    rules = ports.settings.keeping
    draft = plan.draft(files, version, announced, rules)
    draft.warnings += keeping.weaker(ports.policies.current().document, draft.document, rules)
    if draft.invalid:
        raise Refused("config_invalid", draft)
    if draft.unenforceable:
        raise Refused("config_unenforceable", draft)
    if max(len(plan.pack(draft.document)), len(plan.pack(files))) > plan.ARCHIVE_LIMIT:
        raise Fault("too_large", f"The configuration is larger than {plan.ARCHIVE_LIMIT // 1000} KB, compressed.")
    return draft
