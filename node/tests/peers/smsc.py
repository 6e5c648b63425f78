"""An SMSC for tests and the bench, on the codec of python-smpplib. It is told what to do by lines of JSON on its standard
input, and says what happened by lines of JSON on its standard output; the first line is its port.

    {"answers": ["ok", "throttled", "full", "system", "refused", "drop", "silent", "garbage", "hold"]}   for the next messages, then ok
    {"release": true}       answers what was held
    {"ids": "decimal"}      message ids in the answers: hex (the receipt has them in decimal), decimal (in hex), same
    {"receipt": 3, "stat": "DELIVRD", "form": "text"}       of the 4th message; forms: text, tlv,
        reference (by another id and user_message_reference), octet (by the low one of that); "from": another phone
    {"early": true}         from now on each message's receipt comes before its answer
    {"auto": true}          from now on each message's receipt comes behind its answer, and messages are not told
    {"enquire": true}, {"unbind": true}, {"drop": true}, {"raw": "hex"}    to who is bound now
"""

import asyncio
import json
import ssl
import sys

from smpplib import consts, smpp

STATUS = {"throttled": 0x58, "full": 0x14, "system": 0x08, "refused": 0x0B, "vendor": 0x4FF}
STATES = {"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8}


class Smsc:
    def __init__(self):
        self.answers, self.messages, self.ids = [], [], "same"
        self.held = []
        self.early = self.auto = False
        self.writer = None
        self.sequence = 0
        self.counted = 0

    def next_sequence(self):
        self.sequence += 1
        return self.sequence

    def tell(self, **event):
        print(json.dumps(event), flush=True)

    def send(self, command, sequence, status=0, **fields):
        pdu = smpp.make_pdu(command, client=self, sequence=sequence, status=status, **fields)
        pdu.status, pdu.sequence = status, sequence
        raw = pdu.generate()
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(raw)

    def request(self, command, **fields):
        self.send(command, self.next_sequence(), **fields)

    async def connection(self, reader, writer):
        self.writer = writer
        try:
            while True:
                head = await reader.readexactly(4)
                raw = head + await reader.readexactly(int.from_bytes(head, "big") - 4)
                # Of several that are bound, whoever spoke last is spoken to.
                self.writer = writer
                pdu = smpp.parse_pdu(raw, client=self, allow_unknown_opt_params=True)
                if not self.take(pdu, raw):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.tell(event="closed")
        writer.close()

    def take(self, pdu, raw):
        text = lambda value: (value or b"").decode()
        if pdu.command.startswith("bind_"):
            is_known = text(pdu.password) == "secret"
            self.tell(event=pdu.command, system_id=text(pdu.system_id), system_type=text(pdu.system_type), known=is_known)
            status = 0 if is_known else consts.SMPP_ESME_RINVPASWD
            self.send(pdu.command + "_resp", pdu.sequence, status, system_id="peer")
            return is_known
        if pdu.command == "submit_sm":
            return self.submit(pdu, raw)
        if pdu.command == "enquire_link":
            self.tell(event="enquire_link")
            self.send("enquire_link_resp", pdu.sequence)
        elif pdu.command == "unbind":
            self.tell(event="unbind")
            self.send("unbind_resp", pdu.sequence)
            return False
        elif not self.auto:
            self.tell(event=pdu.command, sequence=pdu.sequence, status=pdu.status)
        return True

    def submit(self, pdu, raw):
        number = self.counted
        self.counted += 1
        self.messages.append(pdu)
        answer = self.answers.pop(0) if self.answers else "ok"
        if not self.auto:
            self.tell(event="submit_sm", number=number, answer=answer, raw=raw.hex())
        if answer == "drop":
            return False
        if answer == "silent":
            return True
        if answer == "garbage":
            self.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return True
        if answer in STATUS:
            self.send("submit_sm_resp", pdu.sequence, STATUS[answer])
            return True
        if answer == "hold":
            self.held.append(lambda: self.answer(pdu, number))
            return True
        self.answer(pdu, number)
        return True

    def answer(self, pdu, number):
        if self.early:
            self.receipt(number, "DELIVRD", "text")
        known = self.id(number)
        self.send("submit_sm_resp", pdu.sequence, message_id=f"{known:08x}" if self.ids == "hex" else str(known))
        if self.auto:
            self.receipt(number, "DELIVRD", "text")
            self.messages[number] = None

    def id(self, number):
        return 0xABC00 + number

    def receipt(self, number, stat, form, sender=None):
        pdu, known = self.messages[number], self.id(number)
        known = f"{known:X}" if self.ids == "decimal" else f"{known:010}"
        fields = dict(source_addr_ton=1, source_addr_npi=1, source_addr=sender or pdu.destination_addr.decode(), dest_addr_ton=5, dest_addr_npi=0)
        fields.update(destination_addr=pdu.source_addr.decode(), esm_class=4)
        if form == "tlv":
            fields.update(receipted_message_id=known, message_state=STATES[stat], short_message=b"")
        else:
            if form in ("reference", "octet"):
                mask = 0xFFFF if form == "reference" else 0xFF
                fields.update(user_message_reference=pdu.user_message_reference & mask)
                known = "another"
            text = f"id:{known} sub:001 dlvrd:001 submit date:2611260900 done date:2611260901 stat:{stat} err:000 text:"
            fields.update(short_message=text.encode())
        self.request("deliver_sm", **fields)

    def told(self, line):
        command = json.loads(line)
        for name in ("ids", "early", "auto"):
            if name in command:
                setattr(self, name, command[name])
        self.answers += command.get("answers", [])
        if command.get("release"):
            for answer in self.held:
                answer()
            self.held = []
        if "receipt" in command:
            self.receipt(command["receipt"], command.get("stat", "DELIVRD"), command.get("form", "text"), command.get("from"))
        if command.get("text"):
            self.request("deliver_sm", source_addr="77010000000", destination_addr="Qalqan", short_message=command["text"].encode())
        if command.get("enquire"):
            self.request("enquire_link")
        if command.get("unbind"):
            self.request("unbind")
        if "raw" in command:
            self.writer.write(bytes.fromhex(command["raw"]))
        if command.get("drop"):
            self.writer.close()
        if command.get("count"):
            self.tell(event="count", submitted=self.counted)


async def main():
    smsc = Smsc()
    context = None
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    server = await asyncio.start_server(smsc.connection, "127.0.0.1", port, ssl=context)
    smsc.tell(event="listening", port=server.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        smsc.told(line)


asyncio.run(main())
