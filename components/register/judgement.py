"""Judges a challenger by its figures beside the champion of the moment, in the registry's terms."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.register import gate
from components.register.config import RegisterConfig
from components.shared.mlflow import registry


def judge(
    weights_sha256: str, metrics: Mapping[str, Any], champion: registry.Version | None, config: RegisterConfig
) -> gate.Verdict:
    """Judges a challenger beside the champion of the moment, if its figures allow that.

    Args:
        weights_sha256: of the challenger.
        metrics: content of metrics.json.
        champion: the version in service.
        config: the gate's rules, and what becomes of a challenger that passes it.
    """
    split = metrics.get("protocol", {}).get("split", "test")
    if split != "test":
        return gate.reject(
            f"It was scored on the split {split}, on which recipes are chosen; evaluate again with evaluate.split=test."
        )
    if champion is None:
        alone = {name: value for name, value in metrics.items() if name != "champion"}
        return _decided(gate.judge(alone, config.rules), config)
    if champion.weights_sha256 == weights_sha256:
        return gate.unchanged(f"These weights are the champion's already (version {champion.number}).")
    if scored(metrics, "champion") != champion.weights_sha256:
        return gate.reject(
            f"The champion (version {champion.number}) was not scored beside it; evaluate again: start the same "
            "`colorize run`, or `colorize submit --evaluate V` on a cluster."
        )
    return _decided(gate.judge(metrics, config.rules, json.loads(champion.tags.get("behind", "{}"))), config)


def scored(metrics: Mapping[str, Any], who: str) -> str | None:
    """Returns the SHA-256 of the weights behind the challenger's or the champion's figures."""
    found = metrics.get("protocol", {}).get(who, {}).get("weights_sha256")
    return str(found) if found else None


def _decided(verdict: gate.Verdict, config: RegisterConfig) -> gate.Verdict:
    """Returns the verdict; one to promote becomes a proposal where a person decides."""
    asks = verdict.outcome == "promote" and config.promotion == "proposed"
    return replace(verdict, outcome="propose") if asks else verdict
