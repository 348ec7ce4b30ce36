"""Which subcommands of well-known tools read, change data or change the machine. Data only.

A name that is not in a row is `unknown`: that is where git aliases, docker and kubectl plug-ins and new features are.
`execute` marks what runs code that is not in the line.
"""

from __future__ import annotations

import msgspec

from agent.core.shell.options import Spec, names


class Tool(msgspec.Struct, frozen=True):
    """One tool.

    before: options that may stand before the subcommand. effects: effect → subcommand names. groups: first words that
    are followed by a second (`docker container ls`), named together in `effects`. alone: effects without a subcommand.
    code_options: options before the subcommand that bring code. code_anywhere: long options that do, anywhere.
    read_prefixes, otherwise: for grouped names not listed: these beginnings read, everything else has this effect.
    """

    before: Spec
    effects: dict[str, frozenset[str]]
    groups: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    code_options: frozenset[str] = frozenset()
    code_anywhere: tuple[str, ...] = ()
    read_prefixes: tuple[str, ...] = ()
    otherwise: str = ""
    pager: bool = False
    network: bool = False


def _names(text: str) -> frozenset[str]:
    # Separated by commas: some names are two words.
    return frozenset(name.strip() for name in text.replace("\n", ",").split(",") if name.strip())


def _before(value: str = "", flag: str = "", long_value: str = "", long_flag: str = "") -> Spec:
    return Spec(value, flag, frozenset(long_value.split()), frozenset((long_flag + " help version").split()))


_SYSTEMCTL = Tool(
    _before("tHMopns", "laqfr", "type state property host machine lines output signal kill-whom root preset-mode",
            "all no-pager user system quiet now force full no-legend plain failed no-block no-ask-password recursive "
            "reverse runtime dry-run value show-types"),
    {
        "read": _names("""status, show, cat, is-active, is-enabled, is-failed, is-system-running, list-units, list-timers,
            list-sockets, list-unit-files, list-dependencies, list-jobs, list-machines, get-default, help, show-environment"""),
        "admin": _names("""start, stop, restart, reload, try-restart, reload-or-restart, try-reload-or-restart, kill, clean,
            enable, disable, reenable, preset, mask, unmask, link, revert, add-wants, add-requires, edit, set-default,
            set-property, daemon-reload, daemon-reexec, isolate, reset-failed, rescue, emergency, halt, poweroff, reboot,
            kexec, suspend, hibernate, hybrid-sleep, default, switch-root, set-environment, unset-environment,
            import-environment, cancel, freeze, thaw, bind, mount-image, log-level, log-target, service-watchdogs"""),
        "execute": _names("link, edit, switch-root, import-environment, set-environment"),
    },
    alone=frozenset({"read"}), pager=True,
)  # fmt: skip
_CTL_BEFORE = _before("HMpoa", "l", "host machine property output", "no-pager no-ask-password all full static transient pretty")
_GIT = Tool(
    _before("Cc", "pP", "git-dir work-tree namespace exec-path config-env super-prefix",
            "paginate no-pager no-replace-objects bare literal-pathspecs no-optional-locks html-path"),
    {
        "read": _names("""status, log, diff, show, blame, grep, ls-files, ls-tree, ls-remote, rev-parse,
            rev-list, describe, shortlog, cat-file, show-ref, for-each-ref, merge-base, name-rev, whatchanged, count-objects,
            fsck, check-ignore, diff-tree, help, version, archive, cherry"""),
        "write": _names("""add, rm, mv, commit, reset, restore, checkout, switch, branch, tag, stash, clean, merge, rebase,
            cherry-pick, revert, am, apply, reflog, init, clone, fetch, pull, push, remote, gc, prune, notes, worktree, submodule,
            sparse-checkout, update-index, update-ref, bundle, format-patch, repack, pack-refs, lfs"""),
        # Hooks and smudge filters of the repository run on these.
        "execute": _names("""commit, checkout, switch, merge, rebase, am, clone, pull, push, submodule, worktree, revert,
            cherry-pick,
            stash, restore, reset, gc, lfs"""),
        "admin": _names("config"),
    },
    code_options=frozenset({"git-dir", "work-tree", "exec-path", "config-env"}), pager=True,
)  # fmt: skip
GIT_SAFE_CONFIG = names(
    "user.name user.email color.ui color.diff color.status core.quotepath core.autocrlf advice.detachedhead "
    "log.date init.defaultbranch http.lowspeedlimit http.lowspeedtime protocol.version safe.directory"
)
# Options of git subcommands that name a program, by getopt abbreviation; short ones by subcommand.
GIT_CODE = (
    "upload-pack", "receive-pack", "exec", "open-files-in-pager", "ext-diff", "textconv", "template", "config",
    "tree-filter", "msg-filter", "index-filter", "env-filter", "filters", "tool", "extcmd", "sequence-editor", "strategy",
    "gpg-sign", "upload-archive", "receivepack",
)  # fmt: skip
#: Settings that name no program, and make nothing of somebody else's trusted.
GIT_SAFE_SETTINGS = GIT_SAFE_CONFIG - {"safe.directory"}
GIT_CODE_SHORT = {
    "clone": "uc",
    "fetch": "u",
    "ls-remote": "u",
    "grep": "O",
    "rebase": "xs",
    "merge": "s",
    "commit": "S",
    "tag": "su",
}

_DOCKER = Tool(
    _before("Hcl", "D", "host context config log-level tlscacert tlscert tlskey", "debug tls tlsverify"),
    {
        "read": _names("""ps, images, logs, inspect, version, info, stats, top, port, history, diff, events, search,
            container ls, container list, container ps, container inspect, container logs, container top, container stats,
            image ls, image list, image inspect, image history, volume ls, volume inspect, network ls, network inspect,
            system df, system info, system events, node ls, node ps, node inspect, service ls, service ps, service logs,
            service inspect, stack ls, stack ps, stack services, context ls, context show, context inspect, compose ps,
            compose logs, compose config, compose images, compose top, compose ls, compose version, compose port,
            buildx ls, buildx du, buildx version, secret ls, config ls, plugin ls, manifest inspect"""),
        "write": _names("""rm, rmi, tag, cp, commit, export, save, load, import, create, rename, pull, push, container rm,
            container prune, container cp, image rm, image prune, image pull, image push, image tag, volume create,
            volume rm, volume prune, system prune, builder prune, buildx prune"""),
        "admin": _names("""start, stop, restart, kill, pause, unpause, update, wait, login, logout, container start,
            container stop, container restart, container kill, network create, network rm, network connect,
            network disconnect, network prune, service rm, service scale, service update, stack rm, compose stop,
            compose down, compose rm, compose kill, compose pause, compose unpause, compose pull, compose restart,
            swarm leave"""),
        "execute": _names("""exec, run, build, attach, start, restart, create, container exec, container run,
            container start, container attach, compose exec, compose run, compose up, compose start, compose restart,
            compose build, compose create, buildx build, image build, service create, service update, stack deploy,
            compose pull, plugin install"""),
    },
    groups=_names("container, image, volume, network, system, node, service, stack, context, compose, builder, buildx, swarm, "
                  "secret, config, plugin, manifest"),
    code_options=frozenset({"config"}),
)  # fmt: skip
_KUBECTL = Tool(
    _before("nsv", "A",
        "namespace context cluster user server kubeconfig token as as-group as-uid request-timeout v tls-server-name "
            "certificate-authority client-certificate client-key cache-dir profile", "all-namespaces insecure-skip-tls-verify "
            "match-server-version warnings-as-errors"),
    {
        "read": _names("""get, describe, logs, top, version, api-resources, api-versions, explain, cluster-info, events,
            diff, wait,
            auth can-i, auth whoami, config view, config current-context, config get-contexts, config get-clusters,
            config get-users, rollout status, rollout history, options, completion, kustomize"""),
        "write": _names("""apply, create, delete, patch, replace, scale, autoscale, expose, label, annotate, set image, set env,
            set resources, cp, edit, rollout restart, rollout undo, rollout pause, rollout resume, auth reconcile"""),
        "admin": _names("""cordon, uncordon, drain, taint, certificate approve, certificate deny, config set, config set-context,
            config set-cluster, config set-credentials, config use-context, config use, config unset, config delete-context,
            config delete-cluster, config delete-user, config rename-context"""),
        "execute": _names("exec, run, attach, debug, proxy, port-forward, edit, config set, config set-credentials"),
    },
    groups=_names("auth, config, rollout, set, certificate"), code_options=frozenset({"kubeconfig"}),
        code_anywhere=("kubeconfig",),
    network=True,
)  # fmt: skip


def _packages(read: str, admin: str, *, before: Spec, code: frozenset[str] = frozenset(), anywhere: tuple[str, ...] = ()) -> Tool:
    return Tool(before, {"read": _names(read), "admin": _names(admin)}, code_options=code, code_anywhere=anywhere)


_APT_READ = """list, search, show, policy, showpkg, depends, rdepends, madison, changelog, check, download, showsrc, stats,
    pkgnames, dump, showhold, showauto, showmanual, indextargets, moo"""
_APT_ADMIN = """install, remove, purge, update, upgrade, dist-upgrade, full-upgrade, autoremove, autopurge, clean, autoclean,
    reinstall, build-dep, source, hold, unhold, auto, manual, edit-sources, satisfy, dselect-upgrade"""
_APT = _packages(
    _APT_READ, _APT_ADMIN,
    before=_before("oct", "yqsdfmuVb", "option config-file target-release", "yes assume-yes quiet simulate dry-run installed "
                   "upgradable no-install-recommends fix-broken only-upgrade allow-downgrades all-versions fix-missing"),
    code=frozenset({"o", "c", "option", "config-file"}), anywhere=("option", "config-file"),
)  # fmt: skip
_YUM = _packages(
    "list, search, info, repolist, provides, whatprovides, history, deplist, check-update, check, repoquery, updateinfo, version",
    """install, remove, erase, update, upgrade, downgrade, reinstall, clean, makecache, autoremove, groupinstall, groupremove,
    localinstall, swap, distro-sync, module, config-manager, mark, upgrade-minimal""",
    before=_before("cdeRx", "yqvCt", "config enablerepo disablerepo exclude setopt releasever installroot",
                   "assumeyes quiet nogpgcheck best allowerasing refresh cacheonly security"),
    code=frozenset({"c", "config", "setopt", "installroot"}), anywhere=("config", "setopt", "installroot"),
)  # fmt: skip

TOOLS: dict[str, Tool] = {
    "systemctl": _SYSTEMCTL,
    "loginctl": Tool(_CTL_BEFORE, {
        "read": _names("list-sessions, session-status, show-session, list-users, user-status, show-user, list-seats, "
            "seat-status"),
        "admin": _names("""activate, lock-session, unlock-session, lock-sessions, terminate-session, kill-session, enable-linger,
            disable-linger, terminate-user, kill-user, terminate-seat, attach, flush-devices"""),
    }, alone=frozenset({"read"}), pager=True),
    "timedatectl": Tool(_CTL_BEFORE, {
        "read": _names("status, show, list-timezones, timesync-status, show-timesync"),
        "admin": _names("set-time, set-timezone, set-local-rtc, set-ntp, ntp-servers, revert"),
    }, alone=frozenset({"read"}), pager=True),
    "hostnamectl": Tool(_CTL_BEFORE, {
        "read": _names("status, show"),
        "admin": _names("hostname, set-hostname, icon-name, set-icon-name, chassis, set-chassis, deployment, location"),
    }, alone=frozenset({"read"}), pager=True),
    "localectl": Tool(_CTL_BEFORE, {
        "read": _names("status, list-locales, list-keymaps"), "admin": _names("set-locale, set-keymap, set-x11-keymap"),
    }, alone=frozenset({"read"}), pager=True),
    "resolvectl": Tool(_CTL_BEFORE, {
        "read": _names("status, query, statistics, service"), "admin": _names("flush-caches, reset-statistics, dns, domain, "
            "revert"),
    }, alone=frozenset({"read"}), pager=True),
    "service": Tool(_before("", "", "", "status-all"), {}, alone=frozenset({"read"})),
    "git": _GIT,
    "docker": _DOCKER,
    "podman": _DOCKER,
    "docker-compose": Tool(
        _before("fp", "", "file project-name profile env-file project-directory", "verbose"),
        {effect: frozenset(name.split()[1] for name in names if name.startswith("compose "))
         for effect, names in _DOCKER.effects.items()},
    ),
    "kubectl": _KUBECTL,
    "oc": _KUBECTL,
    "helm": Tool(_before("n", "", "namespace kube-context kubeconfig", "debug"), {
        "read": _names("list, ls, status, history, get values, get manifest, get notes, get all, search repo, search hub, show "
                       "values, show chart, show all, version, env, repo list"),
        "write": _names("install, upgrade, uninstall, delete, rollback, repo add, repo update, repo remove, pull"),
        "execute": _names("install, upgrade"),
    }, groups=_names("get, search, show, repo"), code_options=frozenset({"kubeconfig"}),
        code_anywhere=("post-renderer", "kubeconfig"), network=True),
    "apt": msgspec.structs.replace(_APT, pager=True), "apt-get": _APT, "apt-cache": _APT, "apt-mark": _APT, "aptitude": _APT,
    "yum": _YUM, "dnf": _YUM,
    "apk": _packages("info, list, search, policy, stats, version, audit, dot",
                     "add, del, update, upgrade, fix, cache, fetch", before=_before("pX", "qvU", "root repository",
                         "no-cache update-cache")),
    "snap": _packages("list, find, info, services, changes, version, connections, logs",
                      "install, remove, refresh, revert, enable, disable, start, stop, restart, connect, disconnect, set, unset",
                      before=_before()),
    "npm": Tool(_before("C", "gs", "prefix loglevel registry", "global silent json"), {
        "read": _names("ls, list, view, info, show, outdated, version, ping, whoami, search, audit, root, bin, help"),
        "write": _names("install, i, ci, update, uninstall, remove, rm, prune, dedupe, cache, init, link, pack, publish"),
        "execute": _names("run, run-script, start, test, t, exec, x, install, i, ci, update, rebuild, restart, stop, link, "
            "pack, publish"),
        "admin": _names("config, login, logout, adduser"),
    }, code_anywhere=("script-shell", "node-options", "userconfig", "globalconfig", "git", "editor", "call"), network=True),
    "pip": Tool(_before("", "qvV", "proxy timeout log cache-dir cert",
        "quiet verbose isolated disable-pip-version-check no-input"), {
        "read": _names("list, show, freeze, check, search, index, inspect, debug, hash, help"),
        "write": _names("install, uninstall, download, wheel, cache"),
        "execute": _names("install, wheel, download"),
        "admin": _names("config"),
    }, code_anywhere=("python",), network=True),
    "aws": Tool(
        _before("", "", "profile region output query endpoint-url cli-read-timeout cli-connect-timeout color ca-bundle",
                "no-cli-pager no-verify-ssl no-paginate debug no-sign-request"),
        {
            "read": _names("s3 ls, configure list, configure get, configure list-profiles, sts get-caller-identity, logs tail"),
            "write": _names("s3 cp, s3 mv, s3 rm, s3 sync, s3api put-object, s3api delete-object, dynamodb put-item, "
                            "dynamodb delete-item, dynamodb update-item"),
            "execute": _names("ssm start-session, ssm send-command, ecs execute-command, lambda invoke, configure set, "
                "configure import, "
                              "configure add-model"),
            "admin": _names("configure set, configure import, configure sso"),
        },
        groups=_names("""s3, s3api, ec2, iam, sts, lambda, dynamodb, rds, logs, cloudwatch, ecs, eks, ecr, ssm, sns, sqs,
            cloudformation, route53, elbv2, elb, autoscaling, kms, secretsmanager, apigateway, apigatewayv2, events, configure,
            cloudfront, cloudtrail, efs, elasticache, acm, glue, athena, stepfunctions, organizations, ses, sesv2, backup,
            batch"""),
        read_prefixes=("describe-", "list-", "get-", "head-", "batch-get-", "lookup-", "filter-"), otherwise="admin", pager=True,
        network=True,
    ),
    "journalctl": Tool(
        _before("bcDnopStTuUgM", "aefhkmNqrx1",
            "unit since until lines output priority identifier boot cursor after-cursor directory "
                "file root machine grep facility field namespace user-unit case-sensitive",
                "no-pager follow reverse dmesg all quiet merge catalog no-full full utc no-hostname list-boots disk-usage user "
                "system verify header pager-end no-tail show-cursor fields output-fields"), {}, pager=True),
}  # fmt: skip
TOOLS["pip3"] = TOOLS["pip"]
TOOLS["pipx"] = Tool(_before(), {"read": _names("list"), "execute": _names("run, install")}, network=True)
