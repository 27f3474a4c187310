"""``gancodec models``: which models this installation has."""

from __future__ import annotations

from gancodec.cli import options
from gancodec.cli.report import Report


def models(as_json: options.Json = False) -> None:
    """List the models: name, id, hash, and which one is the default."""
    from gancodec import weights

    report = Report(as_json=as_json)
    for model in weights.available():
        state = ("installed" if model.installed else "not installed") + (", default" if model.default else "")
        if model.experimental:
            state += ", experimental: later weights will refuse its files"
        realism = "0 only" if model.default_realism is None else f"0 to 1, {model.default_realism:g} by default"
        text = (
            f"{model.name} (id {model.id}, hash {model.entropy_hash.hex()}): {state}\n"
            f"  realism {realism}\n  {model.description}"
        )
        record = {
            "name": model.name,
            "id": model.id,
            "hash": model.entropy_hash.hex(),
            "sha256": model.sha256,
            "installed": model.installed,
            "default": model.default,
            "default_realism": model.default_realism,
            "experimental": model.experimental,
            "description": model.description,
        }
        report.result(text, record)
