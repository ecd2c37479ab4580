"""The methods that ship with harmobench, each a plugin like a third party's."""
