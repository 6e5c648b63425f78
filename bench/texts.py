"""What an engineer would write instead: texts sent by python-smpplib with a window, from memory, their receipts counted and not
kept (bench/src/loans/texts.rs).

    bench/texts.py PORT MESSAGES        prints messages a second, and CPU time in s
"""

import logging
import sys
import time

from smpplib import client, consts, gsm

WINDOW = 50
TEXT = "Кредит 250 000 KZT, Bench bank. Код: 123456"


def main(port, messages):
    logging.disable(logging.CRITICAL)
    link = client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
    seen = {"sent": 0, "answered": 0, "receipts": 0}

    def answered(pdu):
        seen["answered"] += 1

    def received(pdu):
        seen["receipts"] += 1
        return consts.SMPP_ESME_ROK

    link.set_message_sent_handler(answered)
    link.set_message_received_handler(received)
    link.connect()
    link.bind_transceiver(system_id="qalqan", password="secret")
    parts, encoding, _ = gsm.make_parts(TEXT)
    began, cpu = time.monotonic(), time.process_time()
    while seen["receipts"] < messages:
        while seen["sent"] < messages and seen["sent"] - seen["answered"] < WINDOW:
            link.send_message(
                source_addr_ton=consts.SMPP_TON_ALNUM,
                source_addr="Qalqan",
                dest_addr_ton=consts.SMPP_TON_INTL,
                dest_addr_npi=consts.SMPP_NPI_ISDN,
                destination_addr=f"7701{seen['sent']:07}",
                short_message=parts[0],
                data_coding=encoding,
                registered_delivery=True,
            )
            seen["sent"] += 1
        link.read_once()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    link.unbind()
    link.disconnect()
    print(messages / took, cpu)


main(int(sys.argv[1]), int(sys.argv[2]))
