#!/usr/bin/python3
"""register.py LINK NAME - registers an agent with nothing but Python and PyNaCl (package python3-nacl),
as SPEC 3 describes it. Prints the coordinator's answer and the new private key as JSON."""
import base64, hashlib, hmac, json, ssl, sys, urllib.request
from nacl.bindings import crypto_box_beforenm, crypto_scalarmult_base, randombytes

origin, _, secret = sys.argv[1].partition("/join#")
b64, unb64 = lambda b: base64.b64encode(b).decode(), base64.b64decode
tls = ssl._create_unverified_context()  # a real client checks the PIN behind the dot of the link


def post(path, body, headers={}):
    request = urllib.request.Request(origin + "/api/v1" + path, body, headers, method="POST")
    return json.load(urllib.request.urlopen(request, context=tls))


private = randombytes(32)
public = b64(crypto_scalarmult_base(private))
given = post("/agents/challenge", json.dumps({"public_key": public}).encode())
body = json.dumps({"coordinator": origin, "public_key": public, "name": sys.argv[2], "endpoint": None,
                   "nat_type": "unknown", "capabilities": [], "advertised_routes": [],
                   "join_key": secret.split(".")[0], "challenge": given["challenge"]}).encode()
shared = crypto_box_beforenm(unb64(given["server_key"]), private)
message = b"wg-mesh register 1\0" + unb64(given["challenge"]) + hashlib.sha256(body).digest()
proof = hmac.digest(shared, message, "sha512")[:32]  # libsodium's crypto_auth
answer = post("/agents/register", body, {"Authorization": "Proof " + b64(proof)})
print(json.dumps({**answer, "private_key": b64(private), "public_key": public}))
