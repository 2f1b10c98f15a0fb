"""`edgeops key`: the keys that this fleet trusts, by their public halves, and where the private ones lie."""

import typer

from edgeops.cli.connection import Data, Token, Url, connect, local_url
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, print_table
from edgeops.local.endpoints import default_data

app = typer.Typer(help="Keys that the fleet trusts.", no_args_is_help=True)


@app.command("list")
def list_(url: Url = None, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """All keys: what each signs, and where its private half lies."""
    folder = data or default_data()
    with connect(url, token, data) as client:
        keys = client.keys()
        on_server = f"{folder.absolute() / 'keys'}" if client.url == local_url(folder) else "on the server"
    private = {key.key_id: on_server if key.on_server else "offline" for key in keys}
    if as_json:
        print_json([{**key.model_dump(mode="json"), "private": private[key.key_id]} for key in keys])
        return
    print_table(
        ("role", "epoch>", "key id", "public (Ed25519)", "private half"),
        [(key.role, key.epoch, key.key_id, key.public_hex, private[key.key_id]) for key in keys],
    )
