"""How many inputs of the past does a reservoir remember?

The memory capacity of a delay is the share of the variance of the input so many steps ago that a linear
readout of 100 units explains. A linear cycle remembers nearly as many inputs as it has units. With random
linear weights the last of them differ by less than rounding does. Units with tanh trade memory for the
nonlinear functions that they compute, the more, the larger the inputs are.
"""

import fastrec
import fastrec.plot


def main(units=100, steps=20_000, path="memory_capacity.svg"):
    networks = {
        "linear cycle": {"topology": "cycle", "activation": "linear", "spectral_radius": 0.98},
        "linear, sparse": {"activation": "linear", "spectral_radius": 0.98},
        "tanh, inputs of 0.01": {"input_scaling": 0.01, "spectral_radius": 0.98},
        "tanh, inputs of 1": {"input_scaling": 1.0, "spectral_radius": 0.98},
    }
    results = {
        name: fastrec.EchoState(1, units, seed=1, **options).memory_capacity(2 * units, steps=steps)
        for name, options in networks.items()
    }
    for name, result in results.items():
        print(f"{name:21} {result.total:6.2f} of {units}")
    fastrec.plot.save_figure(fastrec.plot.memory_capacity_figure(results), path)
    print(f"wrote {path}")
    return results


if __name__ == "__main__":
    main()
