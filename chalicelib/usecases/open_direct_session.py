"""``POST /agent/sessions``: a native client reached an agent's listener and proved the key of a certificate of ours.

The certificate is public, so an agent could show one that it saw earlier. It gains nothing that it does not have: the session can
only go to one of its own targets, where it sees and holds everything already, and the attempt is on record.
"""

from __future__ import annotations

from chalicelib.contracts.api import DirectOpen, DirectOpened
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Principal
from chalicelib.domain import ssh_certificate
from chalicelib.ports import Agent, Ports
from chalicelib.usecases.admission import Request, admit, open_offered
from chalicelib.usecases.circumstances import check_sizes

_CERTIFICATE_LIMIT = 16_384


def open_direct_session(ports: Ports, agent: Agent, asked: DirectOpen) -> DirectOpened:
    """Return the ticket. Raises Fault: certificate_invalid, token_revoked, unknown_target (also for another agent's), denied."""
    check_sizes(asked.target, asked.login, "")
    if len(asked.certificate) > _CERTIFICATE_LIMIT:
        raise Fault("too_large", "The certificate is too large.")
    try:
        person = ssh_certificate.read_person(asked.certificate, ports.signer.ssh_ca(), ports.clock.now_ms() // 1000)
    except ValueError as error:
        raise Fault("certificate_invalid", f"The certificate is not good here: {error}.", hint="Run: sallyport login") from None
    if ports.store.is_revoked(person.token):
        raise Fault("token_revoked", "You logged out; this certificate is no longer good.", hint="Run: sallyport login")
    target = ports.policies.current().document.target(asked.target)
    if target is None or target.agent != agent.name:
        raise Fault("unknown_target", "This agent serves no target of this name.", hint="Run: sallyport ls")
    who = Principal(name=person.principal, groups=person.groups, mfa=person.mfa)
    request = Request(who=who, target=asked.target, login=asked.login, reason="", source_ip=asked.source_ip, token=person.token)
    return DirectOpened(ticket=open_offered(ports, admit(ports, request), agent).ticket)
