"""The broker for a machine without mosquitto: amqtt, on loopback, behind a guard of ours.

amqtt 0.12 speaks MQTT 3.1.1 and has plugins for accounts and topics, but acts on a CONNECT before it asks them, says a
will without asking, and sends whoever connects what it retains for others. So each connection passes
`fleet_server.embedded.guard` first, which lets in and out what mosquitto with our ACL would.
"""
