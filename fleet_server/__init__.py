"""The fleet server: it trains, signs, publishes, ingests and decides with what `edgeops` knows."""
