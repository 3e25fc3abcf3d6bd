"""The named lines of spectra: where they are, and of what kind they are.

Wavelengths are in vacuum. A key names a line by ion and, as is the custom, by its wavelength in air, such as `oiii_5007`
for the one at 5008.24 Å; below 2000 Å both are the same. What the label says is for people.

References:
    NIST Atomic Spectra Database; the line list of SDSS's idlspec2d (Bolton et al. 2012, AJ 144, 144); Vanden Berk et al. (2001),
    AJ 122, 549, for the lines of quasars.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["forbidden", "balmer", "helium", "broad", "absorption"]
"""`forbidden` lines are narrow. `balmer` and `helium` lines are, and have a broad component as well where there is a broad-line region.
`broad` are permitted lines of that region alone. `absorption` lines are those of stars."""


class Line(NamedTuple):
    """One line, or a multiplet that no survey resolves.

    Attributes:
        key: its name in tables and settings.
        label: its name for people.
        wave: Å in vacuum.
        kind: what it is, and with which others it shares its width.
    """

    key: str
    label: str
    wave: float
    kind: Kind


LINES = (
    Line("lya", "Lyα", 1215.670, "broad"),
    Line("nv_1240", "N V 1240", 1240.81, "broad"),
    Line("siiv_1397", "Si IV 1397", 1396.76, "broad"),
    Line("civ_1549", "C IV 1549", 1549.48, "broad"),
    Line("heii_1640", "He II 1640", 1640.42, "broad"),
    Line("ciii_1909", "C III] 1909", 1908.734, "broad"),
    Line("mgii_2799", "Mg II 2799", 2800.315, "broad"),
    Line("nev_3346", "[Ne V] 3346", 3346.79, "forbidden"),
    Line("nev_3426", "[Ne V] 3426", 3426.85, "forbidden"),
    Line("oii_3726", "[O II] 3726", 3727.092, "forbidden"),
    Line("oii_3729", "[O II] 3729", 3729.875, "forbidden"),
    Line("neiii_3869", "[Ne III] 3869", 3869.857, "forbidden"),
    Line("h8", "H8", 3890.151, "balmer"),
    Line("neiii_3967", "[Ne III] 3967", 3968.593, "forbidden"),
    Line("hepsilon", "Hε", 3971.198, "balmer"),
    Line("hdelta", "Hδ", 4102.892, "balmer"),
    Line("hgamma", "Hγ", 4341.684, "balmer"),
    Line("oiii_4363", "[O III] 4363", 4364.436, "forbidden"),
    Line("heii_4686", "He II 4686", 4687.021, "helium"),
    Line("hbeta", "Hβ", 4862.683, "balmer"),
    Line("oiii_4959", "[O III] 4959", 4960.295, "forbidden"),
    Line("oiii_5007", "[O III] 5007", 5008.240, "forbidden"),
    Line("hei_5876", "He I 5876", 5877.253, "helium"),
    Line("oi_6300", "[O I] 6300", 6302.046, "forbidden"),
    Line("oi_6363", "[O I] 6363", 6365.535, "forbidden"),
    Line("nii_6548", "[N II] 6548", 6549.859, "forbidden"),
    Line("halpha", "Hα", 6564.614, "balmer"),
    Line("nii_6583", "[N II] 6583", 6585.268, "forbidden"),
    Line("sii_6716", "[S II] 6716", 6718.294, "forbidden"),
    Line("sii_6731", "[S II] 6731", 6732.674, "forbidden"),
    Line("ariii_7136", "[Ar III] 7136", 7137.757, "forbidden"),
    Line("siii_9069", "[S III] 9069", 9071.089, "forbidden"),
    Line("siii_9531", "[S III] 9531", 9533.214, "forbidden"),
    Line("ca_k", "Ca K", 3934.777, "absorption"),
    Line("ca_h", "Ca H", 3969.592, "absorption"),
    Line("ca_4227", "Ca I 4227", 4227.918, "absorption"),
    Line("g_band", "G band", 4305.61, "absorption"),
    Line("mg_b1", "Mg b 5184", 5185.048, "absorption"),
    Line("mg_b2", "Mg b 5173", 5174.125, "absorption"),
    Line("mg_b4", "Mg b 5167", 5168.760, "absorption"),
    Line("na_d2", "Na D 5890", 5891.583, "absorption"),
    Line("na_d1", "Na D 5896", 5897.558, "absorption"),
    Line("k_7665", "K I 7665", 7667.021, "absorption"),
    Line("na_8183", "Na I 8183", 8185.506, "absorption"),
    Line("na_8195", "Na I 8195", 8197.077, "absorption"),
    Line("ca_8498", "Ca II 8498", 8500.353, "absorption"),
    Line("ca_8542", "Ca II 8542", 8544.436, "absorption"),
    Line("ca_8662", "Ca II 8662", 8664.519, "absorption"),
)
"""Emission lines by wavelength, then absorption lines. The Balmer lines are seen both ways."""
