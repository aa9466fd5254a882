"""Draws a fit: what was fitted, how far each lock is off, and what each value is good for."""

from finegrain.study.calibrate import PARAMETERS, Fitted


def text(fitted: Fitted) -> str:
    """Give a fit as text."""
    lines = ["fitted              value        bounds"]
    for parameter in PARAMETERS:
        value = getattr(fitted.calibration, parameter.name)
        at = " (at its bound)" if value in (parameter.low, parameter.high) else ""
        if parameter.needs and parameter.needs not in fitted.measured_us:
            at = f" (not fitted: the column has no {parameter.needs})"
        bounds = f"{parameter.low:g} to {parameter.high:g}"
        lines.append(f"{parameter.name:18} {value:7.4g}   {bounds:>13}{at}")
    names = [parameter.name for parameter in PARAMETERS]
    lines += ["", "us over 90 minutes; slope: change of the wait's logarithm for one step of the parameter"]
    lines.append(
        f"{'lock':30} {'measured':>14} {'simulated':>14} {'ratio':>7}  "
        + "  ".join(f"{n:>18}" for n in names)
    )
    for lock, measured in fitted.measured_us.items():
        simulated = fitted.simulated_us[lock]
        slopes = "  ".join(f"{fitted.slopes[lock][name]:18.2f}" for name in names)
        lines.append(f"{lock:30} {measured:14.0f} {simulated:14.0f} {simulated / measured:7.2f}  {slopes}")
    lines.append(
        f"steps: {', '.join(f'{p.name} {p.step:g}' + (' of its logarithm' if p.log else '') for p in PARAMETERS)}"
    )
    return "\n".join(lines) + "\n"
