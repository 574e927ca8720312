# Encrypted PSKC as python-pskc (Debian's python3-pskc), another implementation, writes it,
# with random keys and parameters: a line of JSON for each file. Argument: the seed.
import base64, io, json, random, sys

from pskc import PSKC

chance = random.Random(int(sys.argv[1]))
URI = 'urn:ietf:params:xml:ns:keyprov:pskc:'


def written(algorithm, digest, by_password, prf):
    pskc, keys = PSKC(), []
    for user in ('alice', 'bob'):
        secret = chance.randbytes(chance.choice([16, 20, 21, 32, 64]))
        values = {'counter': chance.choice([0, 7, 258, 70000, 2**40])}
        kind = chance.choice(['hotp', 'totp'])
        if kind == 'totp':
            values = {'time_interval': chance.choice([30, 60, 120]), 'time_offset': 5000000}
        pskc.add_key(id=user, serial='S-' + user, algorithm=URI + kind, secret=secret,
                     response_length=8, response_encoding='DECIMAL',
                     key_userid='UID=' + user, **values)
        secret = base64.b32encode(secret).decode().rstrip('=')
        keys.append({'user': user, 'secret': secret, 'counter': values.get('counter'),
                     'period': values.get('time_interval')})
    fields = ['secret', 'counter', 'time_offset', 'time_interval']
    if digest is not None:
        pskc.mac.setup(algorithm=digest)
    fields = chance.choice([fields, ['secret']])
    if by_password:
        text = ''.join(chance.choice('abc xyzäß€"<&') for _ in range(chance.randint(1, 40)))
        pskc.encryption.setup_pbkdf2(text, algorithm=algorithm, prf=prf, fields=fields,
                                     iterations=chance.randint(1000, 3000), key_name='a "name"')
        text = text.encode() + chance.choice([b'', b'\n', b'\r\n'])
    else:
        pskc.encryption.setup_preshared_key(algorithm=algorithm, fields=fields, key_name='K')
        key = pskc.encryption.key
        text = chance.choice([key, key.hex().encode() + b'\n', key.hex().upper().encode(),
                              base64.b64encode(key) + b'\n'])
    out = io.BytesIO()
    pskc.write(out)
    print(json.dumps({'what': [algorithm, digest, prf if by_password else None],
                      'xml': out.getvalue().decode(), 'key': list(text), 'keys': keys}))


DIGESTS = ['hmac-sha1', 'hmac-sha224', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512']
for size in ('128', '192', '256'):
    for digest in DIGESTS:
        written('aes%s-cbc' % size, digest, False, None)
    for prf in [None] + DIGESTS:
        written('aes%s-cbc' % size, 'hmac-sha256', True, prf)
    written('kw-aes' + size, None, False, None)
    written('kw-aes' + size, None, True, None)
