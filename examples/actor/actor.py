"""People behind one login, with psycopg 3.  See README.md."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import time

import psycopg

QUERY = os.environ.get(
    "ACTOR_QUERY", "SELECT id, recv_name, recv_phone FROM masked.waybill ORDER BY id LIMIT 3")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_token(staff_no: str, audience: str, key: bytes, key_id: str | None) -> str:
    """A token that is good for one transaction within a minute (HS256)."""
    header = {"alg": "HS256", "typ": "JWT"}
    if key_id:
        header["kid"] = key_id
    now = int(time.time())
    claims = {"sub": staff_no, "aud": audience, "iat": now, "exp": now + 60,
              "jti": secrets.token_urlsafe(16)}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return signed + "." + base64url(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def main() -> None:
    with open(os.environ["ACTOR_KEY_FILE"], "rb") as file:
        key = file.read()
    key_id = os.environ.get("ACTOR_KEY_ID")
    with psycopg.connect(autocommit=True) as db:
        audience = db.execute("SELECT courier_pii.actor_audience()").fetchone()[0]
        for staff_no in sys.argv[1:]:
            # the transaction is the person's: set_actor() ends with it
            with db.transaction():
                db.execute("SELECT courier_pii.set_actor(%s)",
                           (make_token(staff_no, audience, key, key_id),))
                for row in db.execute(QUERY):
                    print(staff_no, *row)


main()
