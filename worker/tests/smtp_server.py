"""A real SMTP server for the tests: writes what it gets into a directory, prints its port."""

import asyncio
import os
import sys
import uuid

from aiosmtpd.smtp import SMTP


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        # The first attempt to this one is put off, as greylisting servers do.
        marker = os.path.join(sys.argv[1], "greylisted")
        if address.startswith("greylisted@") and not os.path.exists(marker):
            open(marker, "w").close()
            return "451 4.7.1 try again later"
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        recipient = envelope.rcpt_tos[0]
        if recipient.startswith("full@"):
            return "452 4.2.2 mailbox full"
        if recipient.startswith("slow@"):
            await asyncio.sleep(3)
        name = os.path.join(sys.argv[1], str(uuid.uuid4()))
        with open(name + ".part", "wb") as mail:
            mail.write(envelope.content)
        os.rename(name + ".part", name + ".eml")
        return "250 OK"


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Keep()), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
