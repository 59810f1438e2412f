"""How many cores a process may use, from the files in which Linux says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from waymark.operating_system.cpu_cores import cgroup_quota


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_a_group_has_no_more_than_the_groups_above_it(tmp_path: Path) -> None:
    group(tmp_path / "a", cpu_max="150000 100000")
    group(tmp_path / "a" / "b", cpu_max="max 100000")
    group(tmp_path / "a" / "b" / "c", cpu_max="400000 100000")
    assert cgroup_quota("0::/a/b/c\n", tmp_path) == 1.5
    assert cgroup_quota("0::/elsewhere\n", tmp_path) is None


@pytest.mark.parametrize("name", ["/docker/0123", "/"])
def test_a_container_finds_its_own_group_at_the_root(tmp_path: Path, name: str) -> None:
    group(tmp_path, cpu_max="300000 100000")
    assert cgroup_quota(f"0::{name}\n", tmp_path) == 3


def test_the_first_version_of_groups_is_read_too(tmp_path: Path) -> None:
    group(tmp_path / "cpu", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    group(tmp_path / "cpu" / "service", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert cgroup_quota("4:memory:/service\n1:cpu,cpuacct:/service\n0::/\n", tmp_path) == 0.5
    assert cgroup_quota("1:cpu,cpuacct:/\n", tmp_path) is None
