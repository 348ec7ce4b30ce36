"""Tools with subcommands."""

import pytest

from agent.core.shell import classify


@pytest.mark.parametrize(
    ("line", "verb", "effects"),
    [
        ("git status", "git:status", {"read"}),
        ("git -C /x log", "git:log", {"read"}),
        ("git push", "git:push", {"write", "execute"}),
        ("git x", "git:x", {"unknown"}),
        ("git branch -a", "git:branch", {"read"}),
        ("git branch x", "git:branch", {"write"}),
        ("git -c user.name=x commit", "git:commit", {"write", "execute"}),
        ("git -c core.pager=x log", "git:log", {"read", "unknown"}),
        ("git config --get x", "git:config", {"read"}),
        ("git config a b", "git:config", {"admin", "unknown"}),
        ("git clone ext::x d", "git:clone", {"write", "execute", "unknown"}),
        ("git grep -Ox y", "git:grep", {"read", "unknown"}),
        ("git log --output=x", "git:log", {"read", "write"}),
        ("git submodule foreach x", "git:submodule", {"write", "execute", "unknown"}),
        ("docker ps", "docker:ps", {"read"}),
        ("docker container ls -a", "docker:container:ls", {"read"}),
        ("docker rm c", "docker:rm", {"write"}),
        ("docker exec c ls", "docker:exec", {"execute", "read"}),
        ("docker exec c", "docker:exec", {"execute", "unknown"}),
        ("docker x", "docker:x", {"unknown"}),
        ("docker compose up -d", "docker:compose:up", {"execute", "unknown"}),
        ("docker build .", "docker:build", {"execute", "unknown"}),
        ("docker -H tcp://x ps", "docker:ps", {"read"}),
        ("podman ps", "podman:ps", {"read"}),
        ("docker-compose ps", "docker-compose:ps", {"read"}),
        ("kubectl get pods", "kubectl:get", {"read"}),
        ("kubectl -n x delete pod y", "kubectl:delete", {"write"}),
        ("kubectl drain n", "kubectl:drain", {"admin"}),
        ("kubectl exec p -- rm x", "kubectl:exec", {"execute", "write"}),
        ("kubectl exec p rm x", "kubectl:exec", {"execute", "unknown"}),
        ("kubectl rollout status x", "kubectl:rollout:status", {"read"}),
        ("kubectl get pods --kubeconfig x", "kubectl:get", {"read", "unknown"}),
        ("kubectl edit x", "kubectl:edit", {"write", "execute"}),
        ("systemctl status x", "systemctl:status", {"read"}),
        ("systemctl restart x", "systemctl:restart", {"admin"}),
        ("systemctl --user stop x", "systemctl:stop", {"admin"}),
        ("systemctl x", "systemctl:x", {"unknown"}),
        ("systemctl enable /x.service", "systemctl:enable", {"admin", "unknown"}),
        ("service x restart", "service:restart", {"admin"}),
        ("service x status", "service:status", {"read"}),
        ("apt-get install x", "apt-get:install", {"admin"}),
        ("apt-get -y install x", "apt-get:install", {"admin"}),
        ("apt list", "apt:list", {"read"}),
        ("apt-get -o x=y update", "apt-get:update", {"admin", "unknown"}),
        ("apt-get install ./x.deb", "apt-get:install", {"admin", "unknown"}),
        ("pip list", "pip:list", {"read"}),
        ("pip install x", "pip:install", {"write", "execute", "unknown"}),
        ("npm ls", "npm:ls", {"read"}),
        ("npm run x", "npm:run", {"execute", "unknown"}),
        ("aws s3 ls", "aws:s3:ls", {"read"}),
        ("aws s3 rm x", "aws:s3:rm", {"write"}),
        ("aws ec2 describe-x", "aws:ec2:describe-x", {"read"}),
        ("aws ec2 x", "aws:ec2:x", {"admin"}),
        ("aws ssm start-session", "aws:ssm:start-session", {"execute", "unknown"}),
        ("ip a", "ip:a", {"read"}),
        ("ip addr show", "ip:addr", {"read"}),
        ("ip link set x up", "ip:link", {"admin"}),
        ("ip l s x", "ip:l", {"admin"}),
        ("ip r a x", "ip:r", {"admin"}),
        ("dpkg -l", "dpkg", {"read"}),
        ("dpkg -i x", "dpkg", {"admin", "unknown"}),
        ("dpkg -r x", "dpkg", {"admin"}),
        ("rpm -qa", "rpm", {"read"}),
        ("rpm --eval x", "rpm", {"admin", "unknown"}),
        ("journalctl -u x", "journalctl", {"read"}),
        ("journalctl --vacuum-size=1", "journalctl", {"admin"}),
        ("journalctl --rot", "journalctl", {"admin"}),
        ("helm list", "helm:list", {"read"}),
    ],
)
def test_subcommands(line: str, verb: str, effects: set[str]) -> None:
    found = classify(line)
    assert verb in found.verbs
    assert found.effects == effects, found


@pytest.mark.parametrize(
    "line", ["git $x", "docker $x", "kubectl $x get", "systemctl $x y", "ip $x", "git --unheard-of log", "docker container $x"]
)
def test_a_subcommand_that_is_not_literal_is_dynamic(line: str) -> None:
    assert "unknown" in classify(line).effects


@pytest.mark.parametrize("line", ["git log", "systemctl status x", "journalctl", "aws s3 ls"])
def test_pagers_are_flagged(line: str) -> None:
    assert "pager" in classify(line).flags
