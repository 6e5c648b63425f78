"""Telephones behind a BSC, for tests: somebody for osmo-msc to deliver texts to. The A interface (3GPP TS 48.006 and 48.008) over IPA on
TCP, where osmo-msc is the client. Arguments: address and port to listen on, and the IMSIs of the telephones, which register as soon
as an MSC has come. Lines of JSON on its standard input say what to do, and on its standard output what happened: "registered",
"rejected", "paged", "refused", "part" for each SMS-DELIVER, "text" once all its parts are there, "gone" when the MSC is.

    {"away": IMSI}, {"back": IMSI}      does not answer; registers again
    {"refuse": true}                    answers the next SMS-DELIVER by RP-ERROR
"""

import asyncio
import json
import struct
import sys

# Point codes are written 3-8-3 bits; BSSAP is subsystem 254 (TS 48.006 section 6).
MSC, BSC = 0 << 11 | 23 << 3 | 1, 0 << 11 | 42 << 3 | 2
BSSAP = 254
LAI = bytes.fromhex("00f1100017")
# Q.713 section 2.1.
CR, CC, CREF, RLSD, RLC, DT1, UDT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x09
# TS 48.008 section 3.2.2.1.
CLEAR_COMMAND, CLEAR_COMPLETE, RESET, RESET_ACK, PAGING, COMPLETE_LAYER_3 = 0x20, 0x21, 0x30, 0x31, 0x52, 0x57
# TS 24.008 sections 9.2 and 9.1.25, the protocol discriminator before the type.
LU_ACCEPT, LU_REJECT, LU_REQUEST, IDENTITY_REQUEST = (5, 0x02), (5, 0x04), b"\x05\x08", (5, 0x18)
# TS 24.011 sections 8.1.3, 8.2.2 and 8.2.5.4.
SMS, CP_DATA, CP_ACK = 9, 0x01, 0x04
RP_DATA, RP_ACK, RP_ERROR, PROTOCOL_ERROR = 1, 2, 4, 111

# TS 23.038 section 6.2.1; what stands behind an escape in the other.
BASIC = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
ESCAPED = {0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€"}


def tell(**event):
    print(json.dumps(event), flush=True)


def lv(value):
    return bytes([len(value)]) + value


def semi_octets(digits):
    digits += "f" * (len(digits) % 2)
    return bytes(int(digits[at + 1] + digits[at], 16) for at in range(0, len(digits), 2))


def identity(imsi):
    """Mobile identity (TS 24.008 section 10.5.1.4)."""
    is_odd = len(imsi) % 2
    rest = semi_octets(imsi[1:])
    return bytes([int(imsi[0]) << 4 | is_odd << 3 | 1]) + rest


def imsi_of(mobile_identity):
    digits = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in mobile_identity)
    return digits[1:].rstrip("f")


def elements(octets):
    """Type, length and value, as BSSMAP has them."""
    found = {}
    while octets:
        length = octets[1]
        found[octets[0]] = octets[2 : 2 + length]
        octets = octets[2 + length :]
    return found


def address(point_code):
    return lv(struct.pack("<BHB", 0x43, point_code, BSSAP))


def septets(octets, count):
    number = int.from_bytes(octets, "little")
    return [number >> 7 * at & 0x7F for at in range(count)]


def seven_bit(found):
    found = iter(found)
    return "".join(ESCAPED.get(next(found, 0), " ") if septet == 0x1B else BASIC[septet] for septet in found)


def deliver(tpdu):
    """What an SMS-DELIVER says (TS 23.040 section 9.2.2.1)."""
    first, digits, kind = tpdu[:3]
    at = 3 + (digits + 1) // 2
    number = tpdu[3:at]
    if kind >> 4 & 7 == 5:
        sender = seven_bit(septets(number, digits * 4 // 7))
    else:
        sender = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in number)[:digits]
    coding, length, user_data = tpdu[at + 1], tpdu[at + 9], tpdu[at + 10 :]
    header = user_data[: user_data[0] + 1] if first & 0x40 else b""
    is_ucs2 = coding & 0xEC == 0x08 or coding & 0xF0 == 0xE0
    is_eight_bit = coding & 0xEC == 0x04 or coding & 0xF4 == 0xF4
    if is_ucs2:
        text = user_data[len(header) : length].decode("utf-16-be")
    elif is_eight_bit:
        text = user_data[len(header) : length].decode("latin-1")
    else:
        text = seven_bit(septets(user_data, length)[(len(header) * 8 + 6) // 7 :])
    part = dict(sender=sender, type_of_address=kind, coding=coding, header=header.hex(), text=text, reference=None, parts=1, n=1)
    # Concatenated, the reference of 8 bits or of 16.
    if header[1:3] == b"\x00\x03":
        part.update(reference=header[3], parts=header[4], n=header[5])
    elif header[1:3] == b"\x08\x04":
        part.update(reference=header[3] << 8 | header[4], parts=header[5], n=header[6])
    return part


class Telephone:
    def __init__(self, imsi):
        self.imsi = imsi
        self.is_away = False
        self.texts = {}

    def took(self, part):
        tell(event="part", imsi=self.imsi, **part)
        parts = self.texts.setdefault((part["sender"], part["reference"]), {})
        parts[part["n"]] = part["text"]
        if len(parts) == part["parts"]:
            text = "".join(parts[n] for n in sorted(parts))
            del self.texts[(part["sender"], part["reference"])]
            tell(event="text", imsi=self.imsi, sender=part["sender"], coding=part["coding"], parts=part["parts"], text=text)


class Bsc:
    def __init__(self, imsis):
        self.telephones = {imsi: Telephone(imsi) for imsi in imsis}
        self.writer = None
        self.connections = {}
        self.references = 0
        self.refuses = False

    async def connection(self, reader, writer):
        """An MSC has come: who it is is asked, then it is told that everything here began anew."""
        self.writer, self.connections = writer, {}
        self.send(0xFE, b"\x04\x01\x01")
        try:
            while True:
                length, stream = struct.unpack(">HB", await reader.readexactly(3))
                payload = await reader.readexactly(length)
                if stream == 0xFE:
                    self.identity(payload)
                elif stream == 0xFD:
                    self.sccp(payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            tell(event="gone")
        writer.close()

    def send(self, stream, payload):
        if self.writer is not None:
            self.writer.write(struct.pack(">HB", len(payload), stream) + payload)

    def identity(self, payload):
        if payload[0] == 0x00:
            self.send(0xFE, b"\x01")
        elif payload[0] == 0x05:
            self.send(0xFE, b"\x06")
        elif payload[0] == 0x06:
            self.unitdata(bytes([RESET, 0x04, 1, 0x20]))

    # SCCP, class 2 (Q.713).

    def unitdata(self, bssmap):
        called, calling, data = address(MSC), address(BSC), lv(b"\x00" + lv(bssmap))
        pointers = bytes([3, 2 + len(called), 1 + len(called) + len(calling)])
        self.send(0xFD, bytes([UDT, 0]) + pointers + called + calling + data)

    def connect(self, telephone, layer_3):
        self.references += 1
        ours = self.references.to_bytes(3, "little")
        self.connections[ours] = [telephone, None]
        cell = b"\x05" + lv(b"\x00" + LAI + b"\x00\x2a")
        data = b"\x00" + lv(bytes([COMPLETE_LAYER_3]) + cell + b"\x17" + lv(layer_3))
        called = address(MSC)
        optional = b"\x04" + address(BSC) + b"\x0f" + lv(data) + b"\x00"
        self.send(0xFD, bytes([CR]) + ours + bytes([2, 2, 1 + len(called)]) + called + optional)

    def data(self, ours, bssap):
        theirs = self.connections[ours][1]
        self.send(0xFD, bytes([DT1]) + theirs + b"\x00\x01" + lv(bssap))

    def dtap(self, ours, sapi, layer_3):
        self.data(ours, bytes([1, sapi]) + lv(layer_3))

    def sccp(self, message):
        kind, ours = message[0], message[1:4]
        if kind == UDT:
            at = 4 + message[4]
            self.bssmap(None, message[at + 1 :])
        elif ours not in self.connections:
            return
        elif kind == CC:
            self.connections[ours][1] = message[4:7]
        elif kind == DT1:
            at = 5 + message[5]
            self.bssap(ours, message[at + 1 : at + 1 + message[at]])
        elif kind == RLSD:
            self.send(0xFD, bytes([RLC]) + message[4:7] + ours)
            del self.connections[ours]
        elif kind == CREF:
            del self.connections[ours]

    def bssap(self, ours, message):
        if message[0] == 0:
            self.bssmap(ours, message)
        else:
            self.layer_3(ours, message[1] & 7, message[3 : 3 + message[2]])

    def bssmap(self, ours, message):
        kind, rest = message[2], message[3 : 2 + message[1]]
        if kind == RESET:
            self.unitdata(bytes([RESET_ACK]))
        elif kind == RESET_ACK:
            for telephone in self.telephones.values():
                self.register(telephone)
        elif kind == PAGING:
            telephone = self.telephones.get(imsi_of(elements(rest)[0x08]))
            if telephone is not None:
                tell(event="paged", imsi=telephone.imsi, answers=not telephone.is_away)
                if not telephone.is_away:
                    self.connect(telephone, b"\x06\x27\x07" + lv(b"\x33\x19\xa2") + lv(identity(telephone.imsi)))
        elif kind == CLEAR_COMMAND:
            self.data(ours, b"\x00" + lv(bytes([CLEAR_COMPLETE])))

    # The telephone (TS 24.008, TS 24.011).

    def register(self, telephone):
        if not telephone.is_away:
            self.connect(telephone, LU_REQUEST + b"\x72" + LAI + b"\x33" + lv(identity(telephone.imsi)))

    def layer_3(self, ours, sapi, message):
        telephone = self.connections[ours][0]
        discriminator, kind = message[0] & 15, message[1] & 0x3F
        if discriminator == SMS:
            self.short_message(ours, telephone, message)
        elif (discriminator, kind) == IDENTITY_REQUEST:
            self.dtap(ours, sapi, b"\x05\x19" + lv(identity(telephone.imsi)))
        elif (discriminator, kind) == LU_ACCEPT:
            tell(event="registered", imsi=telephone.imsi)
        elif (discriminator, kind) == LU_REJECT:
            tell(event="rejected", imsi=telephone.imsi, cause=message[2])

    def short_message(self, ours, telephone, message):
        # Who began a transaction has 0 in its flag, the other 1.
        transaction = message[0] ^ 0x80
        if message[1] != CP_DATA:
            return
        self.dtap(ours, 3, bytes([transaction, CP_ACK]))
        rp = message[3 : 3 + message[2]]
        if rp[0] & 7 != RP_DATA:
            return
        reference, rest = rp[1], rp[2:]
        for _ in ("originator", "destination"):
            rest = rest[1 + rest[0] :]
        if self.refuses:
            self.refuses = False
            tell(event="refused", imsi=telephone.imsi)
            answer = bytes([RP_ERROR, reference, 1, PROTOCOL_ERROR])
        else:
            telephone.took(deliver(rest[1 : 1 + rest[0]]))
            answer = bytes([RP_ACK, reference])
        self.dtap(ours, 3, bytes([transaction, CP_DATA]) + lv(answer))

    def told(self, line):
        command = json.loads(line)
        self.refuses = command.get("refuse", self.refuses)
        if "away" in command:
            self.telephones[command["away"]].is_away = True
        if "back" in command:
            self.telephones[command["back"]].is_away = False
            self.register(self.telephones[command["back"]])


async def main():
    bsc = Bsc(sys.argv[3:])
    await asyncio.start_server(bsc.connection, sys.argv[1], int(sys.argv[2]))
    tell(event="listening")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        bsc.told(line)


asyncio.run(main())
