#!/usr/bin/python3
"""Cockpit's page for `make callers`: the password as Basic, then each question as X-Conversation."""

import base64
import getpass
import http.client
import json
import sys

user = sys.argv[1]


def encode(text):
    return base64.b64encode(text.encode()).decode()


def login(authorization):
    server = http.client.HTTPConnection("127.0.0.1", 9090, timeout=100)
    server.request("GET", "/cockpit/login", headers={"Authorization": authorization})
    reply = server.getresponse()
    return reply.status, reply.getheader("WWW-Authenticate") or "", reply.read()


authorization = "Basic " + encode(f"{user}:{getpass.getpass('Password: ')}")
while True:
    status, challenge, body = login(authorization)
    if status == 200:
        print(f"Welcome, {user}.")
        break
    if not challenge.startswith("X-Conversation "):
        print("Login failed.")
        break
    said = json.loads(body)
    print(said.get("message", ""), said.get("error", ""))
    _, conversation, prompt = challenge.split(" ")
    answer = getpass.getpass(base64.b64decode(prompt).decode())
    authorization = f"X-Conversation {conversation} {encode(answer)}"
