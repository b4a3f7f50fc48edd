"""The durable database, one package per engine. Each fills the port :class:`cuptime.domain.ports.Storage`."""
