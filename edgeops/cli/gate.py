"""`edgeops model gate`: what the promotion gate of a model tolerates, and what it said of a version."""

from collections.abc import Sequence
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Judgement, PromotionPolicy, Version
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, ModelOrVersion
from edgeops.cli.output import print_facts, print_json, print_table, printable
from edgeops.cli.reference import parse_model_version

_NO_LIMIT = "none"


@connected
def gate(
    client: Client,
    name: ModelOrVersion,
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="LIMIT=VALUE", help="As in least-accuracy=0.9, as an approver; repeatable."),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="First put all limits back to their defaults.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the rules of a model's promotion gate tolerate, or what they said of one version; change the limits."""
    if "@" in name:
        if set_ or default:
            raise typer.BadParameter(
                f"limits belong to a model, not to {name}: edgeops model gate {name.partition('@')[0]}"
            )
        reference = parse_model_version(name)
        version = client.version(reference.model, reference.version)
        run = client.run(version.run_id)
        if as_json:
            gates = {one.variant: one.promotion for one in version.artifacts}
            print_json({"gates": gates, "judgement": run.judgement})
        else:
            _print_rules(version)
            _print_judgement(run.judgement)
        return
    policy = client.promotion_policy(name)
    if set_ or default:
        kept = {} if default else policy.model_dump(exclude={"edition"})
        # What somebody else changed since it was read is not put back.
        policy = client.set_promotion_policy(name, kept | _limits(set_ or ()), edition=policy.edition)
    if as_json:
        print_json(policy)
    else:
        print_facts(_facts(policy))


def _limits(texts: Sequence[str]) -> dict[str, float | None]:
    """`least-accuracy=0.9` by the names of the API."""
    found = dict[str, float | None]()
    known = [name.replace("_", "-") for name in PromotionPolicy.model_fields if name != "edition"]
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise typer.BadParameter(f"--set {text!r}: there is no limit {name!r}; there are {', '.join(known)}")
        try:
            found[name.replace("-", "_")] = None if value == _NO_LIMIT else float(value)
        except ValueError:
            raise typer.BadParameter(f"--set {text!r}: {value!r} is neither a number nor `{_NO_LIMIT}`") from None
    return found


def _facts(policy: PromotionPolicy) -> dict[str, object]:
    values = policy.model_dump(exclude={"edition"})
    return {name.replace("_", "-"): _NO_LIMIT if value is None else value for name, value in values.items()}


def _print_rules(version: Version) -> None:
    print_table(
        ("variant", "rule", "passed", "why"),
        [
            (one.variant, rule.name, "yes" if rule.passed else "NO", rule.reason)
            for one in version.artifacts
            for rule in one.promotion.rules
        ],
        empty="nothing is told of its promotion gate",
    )
    for one in version.artifacts:
        if override := one.promotion.override:
            print(printable(f"{one.variant}: overridden by {override.by} at {override.at}: {override.remark}"))


def _print_judgement(judgement: Judgement) -> None:
    """What single groups and columns cost, and what folds said."""
    for variant, scrutiny in judgement.variants.items():
        if scrutiny.slices:
            print_table(
                (f"{variant}: group", "by", "rows>", "cost>", "from>", "to>"),
                [
                    (one.name, one.by, one.rows, *(f"{value:.4g}" for value in (one.cost, one.low, one.high)))
                    if one.is_judged
                    else (one.name, one.by, one.rows, "too few rows", None, None)
                    for one in scrutiny.slices
                ],
            )
        if scrutiny.columns:
            print_table(
                (f"{variant}: column", "missing>", "stuck>"),
                [
                    (one.column, "refused" if one.missing is None else f"{one.missing:+.4g}", f"{one.stuck:+.4g}")
                    for one in scrutiny.columns
                ],
            )
    if folds := judgement.folds:
        figures = ", ".join(f"{figure:.4g}" for figure in folds.figures)
        print(f"folds by {folds.by}: {figures}; mean {folds.mean:.4g}, spread {folds.spread:.4g}")
