"""Words of the simulated reports: several ways to say each thing. Fields in braces are filled by reports.py."""

DENSITY = {
    "subtle": ("subtle", "faint", "slight", "barely visible"),
    "moderate": ("moderate", "definite", "evident", "ill-marginated"),
    "marked": ("dense", "conspicuous", "marked", "prominent"),
}

FINDING_SENTENCES: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "There is {density} {form} atelectasis in the {place}.",
        "{Density} {form} opacity in the {place}, in keeping with atelectasis.",
        "Volume loss with {density} {form} opacity is noted in the {place}, consistent with atelectasis.",
        "A {density} {form} density crosses the {place}, likely atelectasis.",
    ),
    "Cardiomegaly": (
        "The cardiac silhouette is {amount} enlarged.",
        "{Amount} cardiomegaly is present.",
        "The heart is {amount} enlarged with prominence of the left ventricular contour.",
        "{Amount} enlargement of the heart, predominantly to the left.",
    ),
    "Effusion": (
        "There is a {size_word} {side} pleural effusion.",
        "Blunting of the {side} costophrenic angle with a {size_word} pleural effusion.",
        "A {size_word} amount of fluid layers in the {side} pleural space with a meniscus.",
        "{Size_word} {side}-sided pleural effusion with {density} opacity at the {side} base.",
    ),
    "Infiltration": (
        "{Density} patchy hazy opacities are seen in {haze_place}.",
        "There is {density} patchy infiltration of {haze_place}.",
        "{Density} hazy infiltrates involve {haze_place}.",
        "Patchy, {density} ground-glass haze projects over {haze_place}.",
    ),
    "Mass": (
        "There is a {size_cm} cm {margin} mass in the {place}.",
        "A {density} {margin} mass measuring {size_cm} cm projects over the {place}.",
        "{Density} {margin} mass of about {size_mm} mm in the {place}.",
        "The {place} contains a {margin} mass, {size_cm} cm in diameter.",
    ),
    "Nodule": (
        "There is a {size_mm} mm {margin} nodule in the {place}.",
        "A {density} {size_cm} cm nodule projects over the {place}.",
        "{Density} nodular opacity of {size_mm} mm in the {place}.",
        "A {margin} pulmonary nodule measures {size_mm} mm in the {place}.",
    ),
    "Pneumonia": (
        "There is {density} airspace consolidation in the {place}, suspicious for pneumonia.",
        "{Density} consolidation of the {place} is compatible with pneumonia.",
        "Pneumonia: {density} confluent airspace opacity in the {place}.",
        "A {density} focal consolidation is seen in the {place}; pneumonia is favoured.",
    ),
    "Pneumothorax": (
        "There is a {size_word} {side} apical pneumothorax with a visible pleural line.",
        "A {size_word} {side} pneumothorax is present; the pleural edge lies {size_mm} mm from the chest wall.",
        "{Size_word} {side}-sided pneumothorax with {density} apical lucency and absent lung markings.",
        "The {side} lung edge is separated from the chest wall by a {size_word} pneumothorax.",
    ),
}

IMPRESSIONS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("{Side} {zone} zone atelectasis", "Atelectasis in the {place}"),
    "Cardiomegaly": ("Cardiomegaly", "Enlarged heart"),
    "Effusion": ("{Size_word} {side} pleural effusion", "{Side} pleural effusion"),
    "Infiltration": ("Patchy infiltration of {haze_place}", "Infiltrates in {haze_place}"),
    "Mass": ("{Side} {zone} zone mass, further work-up advised", "{Size_cm} cm mass in the {place}"),
    "Nodule": ("{Side} {zone} zone nodule, CT recommended", "Pulmonary nodule of {size_mm} mm in the {place}"),
    "Pneumonia": ("{Side} {zone} zone pneumonia", "Pneumonia of the {place}"),
    "Pneumothorax": ("{Size_word} {side} pneumothorax", "{Side} pneumothorax"),
}

CAPTIONS: dict[str, str] = {
    "Atelectasis": "{density} {form} atelectasis in the {place}",
    "Cardiomegaly": "{amount} enlarged heart",
    "Effusion": "{size_word} {side} pleural effusion",
    "Infiltration": "{density} patchy infiltration in the {side} lung, {zone} zone",
    "Mass": "{size_cm} cm {margin} mass in the {place}",
    "Nodule": "{size_cm} cm {margin} nodule in the {place}",
    "Pneumonia": "{density} consolidation in the {place}",
    "Pneumothorax": "{size_word} {side} pneumothorax",
}

ABSENT: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("no atelectasis", "no volume loss or atelectasis"),
    "Cardiomegaly": ("the heart size is within normal limits", "no cardiomegaly", "the cardiac silhouette is normal"),
    "Effusion": ("no pleural effusion", "both costophrenic angles are sharp, without effusion"),
    "Infiltration": ("no infiltrate", "no diffuse infiltration"),
    "Mass": ("no mass", "no pulmonary mass is identified"),
    "Nodule": ("no suspicious nodule", "no pulmonary nodule"),
    "Pneumonia": ("no focal consolidation to suggest pneumonia", "no evidence of pneumonia"),
    "Pneumothorax": ("no pneumothorax", "no evidence of pneumothorax"),
}

ABSENT_PAIRS: dict[tuple[str, str], tuple[str, ...]] = {
    ("Effusion", "Pneumothorax"): ("No pneumothorax or pleural effusion.", "There is no effusion or pneumothorax."),
    ("Mass", "Nodule"): ("No pulmonary nodule or mass.", "No suspicious nodule or mass is seen."),
    ("Infiltration", "Pneumonia"): (
        "No infiltrate or focal consolidation.",
        "The lungs are free of consolidation and infiltrate.",
    ),
}

NORMAL_FINDINGS = (
    "The lungs are clear.",
    "Both lungs are well expanded and clear.",
    "The lungs are clear without focal abnormality.",
    "Clear lungs bilaterally.",
)
NORMAL_IMPRESSIONS = (
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No acute disease.",
    "No active cardiopulmonary process.",
)
BACKGROUND = (
    "The mediastinal contours are unremarkable.",
    "The bony thorax is intact.",
    "The osseous structures are unremarkable.",
    "The hila are normal in size and position.",
    "The trachea is midline.",
    "No acute rib fracture is seen.",
)
OPENINGS = ("", "", "Single posteroanterior view of the chest.", "PA chest radiograph.", "Frontal view of the chest.")
